"""Which instances the gateway sends new requests to, as it last acknowledged.

The endpoint loop writes it, the deployment loop reads it: an instance is stopped only after it has left this list,
and counts as serving only once it is on it. It is observed state, so it lives in memory and is unknown (None) after a
restart until the first acknowledgement.
"""

from __future__ import annotations


class RoutedInstances:
    """Endpoint name -> instance ids."""

    def __init__(self) -> None:
        self._by_endpoint: dict[str, frozenset[str]] = {}

    def get(self, endpoint: str) -> frozenset[str] | None:
        """What was acknowledged last, or None when nothing was yet."""
        return self._by_endpoint.get(endpoint)

    def acknowledge(self, endpoint: str, instances: frozenset[str]) -> bool:
        """Note what every gateway routes to now; tells whether that is news."""
        news = self._by_endpoint.get(endpoint) != instances
        self._by_endpoint[endpoint] = instances
        return news

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._by_endpoint.pop(endpoint, None)
