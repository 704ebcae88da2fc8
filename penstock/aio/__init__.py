"""The client for asyncio. :mod:`penstock.blocking` is generated from it, so the two never differ."""

from penstock.aio.client import Client
from penstock.aio.operations import Operation

__all__ = ["Client", "Operation"]
