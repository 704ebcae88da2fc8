"""The gateway's port is taken: said before anything starts, and survived when it happens after."""

from __future__ import annotations

import os
import socket

import pytest

from gateway.envoy import PortInUseError, check_port
from gateway.routes import Refusal, RouteRefusedError
from tests.integration.gateway.rig import Rig, until
from tests.support.ports import free_port

pytestmark = pytest.mark.integration


def test_a_free_port_passes() -> None:
    check_port("127.0.0.1", free_port())


@pytest.mark.parametrize("shared", [False, True])
def test_the_holder_is_named(shared: bool) -> None:
    """Also when it would share: two gateways on one port would each get a part of the requests."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            check_port("127.0.0.1", port)
    assert f"Port {port} on 127.0.0.1 is in use" in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "--gateway-port" in str(caught.value)


def test_an_address_of_another_machine_is_the_systems_error() -> None:
    with pytest.raises(OSError, match="assign"):
        check_port("203.0.113.1", 8080)


async def test_an_envoy_that_cannot_listen_is_told_in_the_status() -> None:
    rig = Rig()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", rig.settings.listen_port))
        holder.listen()
        async with rig:
            await until(lambda: rig.router.status().rejected)
            assert "Address already in use" in rig.router.status().rejected["listener/gateway"]
            with pytest.raises(RouteRefusedError) as caught:
                await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
            assert caught.value.reason is Refusal.ABSENT
            assert "Address already in use" in str(caught.value)
            await rig.router.remove("e")
