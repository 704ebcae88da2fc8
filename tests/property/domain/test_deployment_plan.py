"""The promises of the plan, under random wishes, crashes, slow starts and a gateway that lags behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.domain.deployment_plan import Attempts, InstanceView, Wanted, plan_deployment
from controlplane.domain.instances import InstanceFailure, InstanceObservation, InstanceRecord, InstanceState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEMPLATES = st.sampled_from(["one", "two", "three"])


class PlannedDeployment(RuleBasedStateMachine):
    """Carries plans out in the smallest steps, with everything else happening in between."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = Wanted(count=1, template_hash="one")
        self.views: dict[str, InstanceView] = {}
        self.routed: frozenset[str] | None = None
        self.made = 0
        self.now = NOW

    # The user.

    @rule(count=st.integers(0, 5))
    def scale(self, count: int) -> None:
        self.wanted = replace(self.wanted, count=count)

    @rule(template=TEMPLATES)
    def update(self, template: str) -> None:
        settled_on = {v.record.template_hash for v in self.serving()}
        fallback = next(iter(settled_on)) if len(settled_on) == 1 else self.wanted.fallback_hash
        self.wanted = replace(self.wanted, template_hash=template, fallback_hash=fallback)

    @rule(prepared=st.booleans())
    def build(self, prepared: bool) -> None:
        self.wanted = replace(self.wanted, prepared=prepared)

    # The world.

    @rule(data=st.data())
    def come_up(self, data: st.DataObject) -> None:
        starting = [v for v in self.views.values() if v.seen and v.seen.state is InstanceState.STARTING]
        if starting:
            self.see(data.draw(st.sampled_from(starting)), InstanceState.READY)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        running = [v for v in self.views.values() if v.seen]
        if running:
            self.see(data.draw(st.sampled_from(running)), InstanceState.FAILED)

    @rule()
    def acknowledge(self) -> None:
        self.routed = frozenset(v.id for v in self.views.values() if v.ready)

    @rule()
    def forget_routes(self) -> None:
        self.routed = None

    # The control plane.

    @rule()
    def work(self) -> None:
        self.step(Attempts())

    @rule(failures=st.integers(1, 5))
    def work_while_backing_off(self, failures: int) -> None:
        plan = self.step(Attempts(failures, InstanceFailure("x", "y"), self.now + timedelta(seconds=5)))
        assert plan.record == 0
        assert plan.record_fallback == 0

    @invariant()
    def settles_when_nothing_else_happens(self) -> None:
        views, routed, made = dict(self.views), self.routed, self.made
        self.wanted, before = replace(self.wanted, prepared=True), self.wanted
        for _ in range(60):
            plan = self.step(Attempts())
            for view in list(self.views.values()):
                if view.seen and view.seen.state is InstanceState.STARTING:
                    self.see(view, InstanceState.READY)
            self.acknowledge()
            if plan.settled:
                break
        assert plan.settled
        assert sum(v.ready for v in self.views.values()) == self.wanted.count
        self.views, self.routed, self.made, self.wanted = views, routed, made, before

    def step(self, attempts: Attempts):
        views = list(self.views.values())
        plan = plan_deployment(self.wanted, views, self.routed, attempts, self.now)
        by_id = {v.id: v for v in views}
        serving_before = len(self.serving())

        for instance in plan.stop:
            view = by_id[instance]
            never_started = view.seen is None
            assert view.failed or never_started or (self.routed is not None and instance not in self.routed)
        for instance in plan.drain:
            assert not by_id[instance].record.draining

        for instance in plan.stop:
            del self.views[instance]
        for instance in plan.drain:
            if instance in self.views:
                view = self.views[instance]
                self.views[instance] = replace(view, record=replace(view.record, draining=True))
        for instance in plan.launch:
            view = self.views[instance]
            seen = InstanceObservation(instance, InstanceState.STARTING, view.record.template_hash)
            self.views[instance] = replace(view, seen=seen)
        for _ in range(plan.record):
            self.make(self.wanted.template_hash)
        for _ in range(plan.record_fallback):
            self.make(self.wanted.fallback_hash)

        # What the plan itself does never takes the serving ones below what is wanted.
        assert len(self.serving()) >= min(serving_before, self.wanted.count)
        return plan

    def serving(self) -> list[InstanceView]:
        return [v for v in self.views.values() if v.ready]

    def make(self, template: str) -> None:
        self.made += 1
        record = InstanceRecord(f"i{self.made}", "house", "blue", "uid", template, NOW + timedelta(seconds=self.made))
        self.views[record.id] = InstanceView(record)

    def see(self, view: InstanceView, state: InstanceState) -> None:
        assert view.seen is not None
        self.views[view.id] = replace(view, seen=replace(view.seen, state=state))


TestPlannedDeployment = PlannedDeployment.TestCase
TestPlannedDeployment.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
