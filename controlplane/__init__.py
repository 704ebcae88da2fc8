"""The control plane: keeps the desired state, and makes the observed one equal to it.

Rooms, in the direction of the flow: :mod:`~controlplane.api` takes calls, :mod:`~controlplane.store` keeps what was
asked for, :mod:`~controlplane.reconcile` makes it so through :mod:`~controlplane.backends` and the gateway.
:mod:`~controlplane.domain` holds the rules all of them share, and :mod:`~controlplane.server` puts the parts together.
"""
