"""The door for gateways of other machines: how often those who are turned away are spoken of."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from gateway.ads_port import Guarded


class RefusedError(Exception):
    """What gRPC raises to end a call."""


class Context:
    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.code: grpc.StatusCode | None = None

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"transport_security_type": [b"ssl"], "x509_subject_alternative_name": [self._uri.encode()]}

    def peer(self) -> str:
        return "ipv4:10.0.0.9:1"

    async def abort(self, code: grpc.StatusCode, _: str) -> None:
        self.code = code
        raise RefusedError


async def test_who_comes_again_is_spoken_of_once_a_minute() -> None:
    now = 0.0
    guarded = Guarded((), lambda _: None, lambda: now)

    async def turned_away(uri: str) -> int:
        context: Any = Context(uri)
        with capture_logs() as logs, pytest.raises(RefusedError):
            await guarded._check(context)
        assert context.code is grpc.StatusCode.PERMISSION_DENIED
        return len(logs)

    edge, other = "spiffe://penstock/gateway/edge/a1", "spiffe://penstock/gateway/other/b2"
    nobody = "spiffe://penstock/gateway"
    assert [await turned_away(uri) for uri in (edge, edge, other, nobody, nobody)] == [1, 0, 1, 1, 0]
    now = 59.0
    assert [await turned_away(uri) for uri in (edge, other, nobody)] == [0, 0, 0]
    now = 60.0
    assert [await turned_away(uri) for uri in (edge, edge)] == [1, 0]
