"""Counting an instance's failures, so that a crash loop slows down and a single crash is mended at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controlplane.domain.backoff import Backoff
from controlplane.domain.deployment_plan import Attempts, InstanceView
from controlplane.domain.instances import InstanceFailure

STABLE = timedelta(seconds=60)
"""An instance that answered this long starts the count anew, when it ends or when all the others did too."""


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
        # An instance that is gone never comes back, so it need not be remembered.
        known = self.counted & {view.id for view in views}
        same = self.template_hash == template_hash
        count = replace(self, counted=known) if same else FailureCount(template_hash, counted=known)
        if count.attempts.failures and _all_stable(template_hash, views, now):
            count = count.anew()
        for view in views:
            if view.failed and not view.record.draining and view.id not in count.counted:
                count = count.plus(view, now, backoff, rng)
        return count

    def anew(self) -> FailureCount:
        """No failures so far; those that were counted are not counted again."""
        return FailureCount(self.template_hash, counted=self.counted)

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


def _all_stable(template_hash: str, views: tuple[InstanceView, ...], now: datetime) -> bool:
    """Whether every instance of the template has answered long enough; one in a crash loop speaks against it."""
    own = [view for view in views if view.record.template_hash == template_hash and not view.record.draining]
    since = [view.seen.ready_since if view.ready and view.seen else None for view in own]
    return bool(own) and all(moment is not None and now - moment >= STABLE for moment in since)
