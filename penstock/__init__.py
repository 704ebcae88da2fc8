"""Penstock: managed online endpoints for machine-learning models, on your own machines.

::

    with penstock.Client() as client:
        client.endpoints.set_traffic("diabetes", {"blue": 90, "green": 10}).wait()
        print(client.invoke("diabetes", {"data": [[1, 2, 3]]}).json())

:class:`penstock.aio.Client` is the same for asyncio; :mod:`penstock.v1` are the generated gRPC stubs beneath both;
:mod:`penstock.errors` is what they raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock import aio, errors
    from penstock.client import Client

__all__ = ["Client", "aio", "errors"]


def __getattr__(name: str) -> Any:
    """Import on first use: whoever imports ``penstock.v1`` alone should not pay for the clients."""
    from importlib import import_module  # noqa: PLC0415 - likewise

    if name == "Client":
        return import_module("penstock.client").Client
    if name in ("aio", "errors"):
        return import_module(f"penstock.{name}")
    raise AttributeError(f"module 'penstock' has no attribute '{name}'")
