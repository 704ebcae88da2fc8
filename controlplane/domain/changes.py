"""How the parts of the control plane learn that something was stored: one event after each commit.

An event only wakes; whoever is woken reads the store again, so a lost or repeated one does no harm (the resync makes
up for the former). That is why an event carries names and no state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

_LOG = logging.getLogger(__name__)


class ChangeKind(StrEnum):
    """What was stored."""

    SPEC = "spec"
    """The desired state of an endpoint or a deployment, deletion included: reconcilers have work."""
    STATUS = "status"
    """What a reconciler reported, progress and instances included: watchers have news."""
    REMOVED = "removed"
    """The resource is gone."""


@dataclass(frozen=True, slots=True)
class Change:
    """One stored change of an endpoint, or of the deployment under it when one is named."""

    kind: ChangeKind
    endpoint: str
    deployment: str = ""


Listener = Callable[[Change], None]


class Changes:
    """Tells listeners about changes, in the order of the commits. Belongs to one event loop."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for every change from now on; the answer is the function that ends it.

        A listener must not wait: it sets an event or fills a queue.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell everyone. A listener that fails is logged and does not keep the others from hearing."""
        for change in changes:
            for listener in tuple(self._listeners):
                try:
                    listener(change)
                except Exception:  # noqa: BLE001  # one broken listener must not silence the others
                    _LOG.exception("a listener failed on %s", change)
