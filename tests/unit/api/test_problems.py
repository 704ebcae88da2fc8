from __future__ import annotations

from controlplane.api.platform_service import problems
from gateway.routes import GatewayStatus


def test_what_an_operator_must_do_something_about() -> None:
    assert problems(GatewayStatus(connected=1, endpoints=2, rejected={"house": "why"}), "") == ()
    refused = {"listener/gateway": "Address already in use", "house": "why", "secret/gateway-cert": "no key."}
    assert problems(GatewayStatus(connected=0, endpoints=0, rejected=refused), "It expires.") == (
        "It expires.",
        "No gateway is connected: requests are served as they were, if at all; see the gateway's log.",
        "A gateway refuses the listener gateway: Address already in use.",
        "A gateway refuses the secret gateway-cert: no key.",
    )
