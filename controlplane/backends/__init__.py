"""Where instances run: one package per backend, each behind :class:`controlplane.domain.ports.Backend`.

None imports another; what they share lies beside them.
"""
