"""The rules of Penstock, pure: values in, values out, the standard library alone.

Nothing here waits, reads a clock or opens a file; the ports in :mod:`controlplane.domain.ports` say what the outside
must be able to do.
"""
