"""The blocking client under the name users import; :mod:`penstock.blocking` holds it."""

from penstock.blocking import Client, Operation

__all__ = ["Client", "Operation"]
