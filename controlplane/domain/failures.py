"""Counting an instance's failures, so that a crash loop slows down and a single crash is mended at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controlplane.domain.backoff import Backoff
from controlplane.domain.deployment_plan import Attempts, InstanceView
from controlplane.domain.instances import InstanceFailure

STABLE = timedelta(seconds=60)
"""An instance that answered this long starts the count anew when it ends."""


@dataclass(frozen=True, slots=True)
class FailureCount:
    """The failures of one deployment's present template, and which instances were counted."""

    template_hash: str = ""
    attempts: Attempts = field(default_factory=Attempts)
    counted: frozenset[str] = frozenset()

    def after(
        self, template_hash: str, views: tuple[InstanceView, ...], now: datetime, backoff: Backoff, rng: random.Random
    ) -> FailureCount:
        """The count once the failed instances among ``views`` are in it. Another template starts from zero."""
        count = self if self.template_hash == template_hash else FailureCount(template_hash, counted=self.counted)
        for view in views:
            if view.failed and not view.record.draining and view.id not in count.counted:
                count = count.plus(view, now, backoff, rng)
        return count

    def plus(self, view: InstanceView, now: datetime, backoff: Backoff, rng: random.Random) -> FailureCount:
        """The count with one failed instance more."""
        seen = view.seen
        assert seen is not None  # noqa: S101  # `failed` implies that it was seen
        ready_since, ended = seen.ready_since, seen.ended or now
        before = 0 if ready_since is not None and ended - ready_since >= STABLE else self.attempts.failures
        own = view.record.template_hash == self.template_hash
        failures = before + 1 if own else before
        # One that answered before is replaced at once, the first time: a kill -9 should cost nobody a second.
        wait = backoff.delay(failures - 1 if ready_since is not None and own else max(1, failures), rng)
        failure = seen.failure or InstanceFailure("Ended", f"instance {view.id} ended without saying why")
        return FailureCount(
            self.template_hash,
            Attempts(failures, failure if own else self.attempts.latest, now + timedelta(seconds=wait)),
            self.counted | {view.id},
        )
