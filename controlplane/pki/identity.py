"""The names by which the platform's parts know each other, in the manner of SPIFFE: a URI in each certificate."""

from __future__ import annotations

from typing import Final

_DOMAIN: Final = "spiffe://penstock"
CONTROL_PLANE: Final = f"{_DOMAIN}/controlplane"
SERVER_NAME: Final = "controlplane.penstock"
"""The control plane's certificate is also for this host name: for callers that check no URI, whatever its address."""
GATEWAYS: Final = f"{_DOMAIN}/gateway"
"""What gateways show to instances: all of them the same, since each may reach every instance."""


def gateway(peer: str) -> str:
    """What a gateway of another machine shows to the control plane; see :attr:`Enrolment.peer`."""
    return f"{GATEWAYS}/{peer}"


def scorer(endpoint: str, deployment: str) -> str:
    """What every instance of a deployment shows to gateways. :mod:`gateway.translate.upstream_tls` asks for it."""
    return f"{_DOMAIN}/scorer/{endpoint}/{deployment}"
