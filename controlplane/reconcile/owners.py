"""Which deployment an instance belongs to, so that news of an instance finds its loop without asking the store."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.domain.instances import InstanceRecord


class InstanceOwners:
    """Instance id -> (endpoint name, deployment name). A missing entry costs a moment, until the next resync."""

    def __init__(self) -> None:
        self._by_id: dict[str, tuple[str, str]] = {}

    def of(self, instance: str) -> tuple[str, str] | None:
        """The owner, or None when it is not known."""
        return self._by_id.get(instance)

    def note(self, records: Iterable[InstanceRecord]) -> None:
        """Learn of newly recorded instances."""
        self._by_id.update((record.id, (record.endpoint, record.deployment)) for record in records)

    def replace(self, records: Iterable[InstanceRecord]) -> None:
        """Start anew from everything the store holds."""
        self._by_id = {}
        self.note(records)
