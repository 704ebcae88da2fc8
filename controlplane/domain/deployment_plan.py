"""What to do next for a deployment, worked out from what is wanted and what is seen.

The one place that decides which instances start, drain and stop, for every backend alike. It keeps these promises,
each held by a property test:

- what serves is never given up for what does not serve yet: an old instance drains only when a new one that the
  gateway routes to takes its place (a failing update leaves the old instances as they are);
- an instance is stopped only when the gateway has acknowledged that it sends nothing there any more;
- repeated failures back off, and end in Failed with the user's own words, while tries go on at the slowest pace.

Surge: during an update at most a quarter more instances than wanted (at least one) run beside the old ones, as in
Kubernetes' rolling update with ``maxUnavailable: 0``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from controlplane.domain.instances import InstanceFailure, InstanceObservation, InstanceRecord, InstanceState

SURGE_SHARE = 0.25
ATTEMPTS_UNTIL_FAILED = 3
"""Failures in a row after which a deployment is called Failed (and tried on, slowly)."""
HOPELESS = frozenset({"ScriptNotFound", "MissingFunction", "BadSignature"})
"""Reasons of the scorer that no second try mends: the user is told at once."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Failures in a row of a deployment's present template."""

    failures: int = 0
    latest: InstanceFailure | None = None
    not_before: datetime | None = None
    """No new start until then."""

    @property
    def exhausted(self) -> bool:
        """Whether users are told that it failed."""
        hopeless = self.failures > 0 and self.latest is not None and self.latest.reason in HOPELESS
        return hopeless or self.failures >= ATTEMPTS_UNTIL_FAILED


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance as recorded and as seen; ``seen`` is None before it is launched, and once it has been ended."""

    record: InstanceRecord
    seen: InstanceObservation | None = None
    ending: bool = False
    """It is being ended already, and its record goes next: maybe it is not seen any more."""

    @property
    def id(self) -> str:
        """The instance's id."""
        return self.record.id

    @property
    def failed(self) -> bool:
        """It ended by itself."""
        return self.seen is not None and self.seen.state is InstanceState.FAILED

    @property
    def ready(self) -> bool:
        """It answers, and was not told to drain."""
        return self.seen is not None and self.seen.state is InstanceState.READY and not self.record.draining


@dataclass(frozen=True, slots=True)
class Wanted:
    """The desired state of a deployment, as far as instances are concerned."""

    count: int
    template_hash: str
    prepared: bool = True
    """The environment is built: new instances can start."""
    deleting: bool = False
    fallback_hash: str = ""
    """The template that last served as wanted. While the present one cannot serve, it is kept up to strength."""


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What to do now. Working it off, and planning again whenever something changes, reaches the desired state."""

    record: int = 0
    """New instances of the present template to record, then launch."""
    record_fallback: int = 0
    """New instances of the fallback template, in the place of ones that ended while an update is under way."""
    launch: tuple[str, ...] = ()
    """Recorded instances that are not running yet."""
    drain: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    """Instances to end and forget: failed ones that were replaced, and drained ones the gateway has let go."""
    serving: int = 0
    """Instances of the present template that answer and are routed to."""
    settled: bool = False
    """Observed equals desired; for a deployment being deleted, nothing is left."""
    wake_at: datetime | None = None
    """Plan again then, even if nothing changes."""


def plan_deployment(
    wanted: Wanted,
    views: Sequence[InstanceView],
    routed: frozenset[str] | None,
    attempts: Attempts,
    now: datetime,
) -> DeploymentPlan:
    """The next steps.

    Args:
        wanted: the desired state.
        views: every recorded instance of the deployment.
        routed: the instances every gateway routes new requests to, as acknowledged; None when that is not known,
            as after a restart of the control plane.
        attempts: failures in a row so far.
        now: the present moment.
    """
    count = 0 if wanted.deleting else wanted.count
    alive = [v for v in views if not v.failed and not v.ending and not v.record.draining]
    current = [v for v in alive if v.record.template_hash == wanted.template_hash]
    old = [v for v in alive if v.record.template_hash != wanted.template_hash]
    serving = [v for v in current if v.ready and routed is not None and v.id in routed]

    drain = _to_drain(wanted, count, current, old, serving)
    kept = _kept_for_its_log(count, current, views)
    stop = [
        v.id for v in views if v.ending or (v.failed and v is not kept) or (v.record.draining and _let_go(v, routed))
    ]
    backing_off = attempts.not_before is not None and now < attempts.not_before
    launch = [v.id for v in alive if v.seen is None and (v in old or wanted.prepared)]
    new = _to_start(count, current, old) if wanted.prepared and not backing_off else 0
    lost = 0 if backing_off else _lost_old(wanted, count, old, serving, attempts)

    remaining = [v for v in views if v.id not in stop]
    settled = (
        not remaining
        if wanted.deleting
        else len(serving) >= count
        and len(current) == count
        and not old
        and not any(v.id in (routed or ()) for v in remaining if v.record.draining)
    )
    return DeploymentPlan(
        record=new,
        record_fallback=lost,
        launch=tuple(launch),
        drain=tuple(drain),
        stop=tuple(stop),
        serving=len(serving),
        settled=settled,
        wake_at=attempts.not_before if backing_off else None,
    )


def _kept_for_its_log(
    count: int, current: Sequence[InstanceView], views: Sequence[InstanceView]
) -> InstanceView | None:
    """The last one that failed, while none has taken its place: whoever asks why will want to read its log."""
    failed = [v for v in views if v.failed and not v.ending and not v.record.draining]
    if len(current) >= count or not failed:
        return None
    return max(failed, key=lambda v: v.record.created)


def _to_start(count: int, current: Sequence[InstanceView], old: Sequence[InstanceView]) -> int:
    missing = count - len(current)
    if not old:
        return max(0, missing)
    surge = max(1, math.ceil(count * SURGE_SHARE))
    return max(0, min(missing, count + surge - len(current) - len(old)))


def _lost_old(
    wanted: Wanted, count: int, old: Sequence[InstanceView], serving: Sequence[InstanceView], attempts: Attempts
) -> int:
    """Old instances that ended while the present template cannot take over."""
    held_up = not wanted.prepared or attempts.failures > 0
    if not held_up or wanted.fallback_hash in ("", wanted.template_hash):
        return 0
    return max(0, count - len(serving) - len(old))


def _to_drain(
    wanted: Wanted,
    count: int,
    current: Sequence[InstanceView],
    old: Sequence[InstanceView],
    serving: Sequence[InstanceView],
) -> list[str]:
    # Beyond the wanted count go those that do not answer, then the youngest.
    by_worth = sorted(current, key=lambda v: (v.ready, -v.record.created.timestamp()))
    drain = [v.id for v in by_worth[: max(0, len(current) - count)]]

    # An old instance that does not answer serves nobody, unless it is the fallback on its way up. One that does is
    # replaced one for one.
    old_ready = [v for v in old if v.ready]
    replaced = len(serving) >= count
    drain += [v.id for v in old if not v.ready and (replaced or not _coming_back(v, wanted))]
    spare = len(serving) + len(old_ready) - count
    drain += [v.id for v in sorted(old_ready, key=lambda v: v.record.created)][: max(0, spare)]
    return drain


def _coming_back(view: InstanceView, wanted: Wanted) -> bool:
    starting = view.seen is None or view.seen.state is not InstanceState.UNREADY
    return starting and view.record.template_hash == wanted.fallback_hash


def _let_go(view: InstanceView, routed: frozenset[str] | None) -> bool:
    """Nothing new can arrive there: never launched, or every gateway has acknowledged a route without it."""
    return view.seen is None or (routed is not None and view.id not in routed)
