# Generated from penstock/aio/__init__.py by penstock/blocking/generate.py. Do not edit.
"""The blocking client, so the two never differ."""

from penstock.blocking.client import Client
from penstock.blocking.operations import Operation

__all__ = ["Client", "Operation"]
