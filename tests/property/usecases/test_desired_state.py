"""Any sequence of calls and reports keeps the rules of the desired state."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.domain.errors import PenstockError
from controlplane.domain.records import DeploymentRecord, EndpointRecord, EndpointTree, Report
from controlplane.domain.revisions import settled
from controlplane.domain.specs import DeploymentSpec, EndpointSpec
from controlplane.domain.status import ProvisioningState
from tests.support.platform import CALLER, CODE, Platform, open_platform

T = TypeVar("T")
NAMES = st.just("house")
SHORT = st.sampled_from(["blue", "green"])
SHARES = st.sampled_from([0, 50, 100])
SETTLED = st.sampled_from([ProvisioningState.SUCCEEDED, ProvisioningState.FAILED, ProvisioningState.UPDATING])
SERVED = DeploymentSpec(code_asset=CODE.sha256, scoring_script="score.py")


class DesiredStateMachine(RuleBasedStateMachine):
    """Users and reconcilers, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="ps-"))
        self.platform: Platform = self.run(open_platform(self.folder))
        self.run(self.platform.upload(CODE))
        self.etags: dict[str, tuple[int, str]] = {}
        self.all_etags: set[str] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def refused(self, work: Coroutine[Any, Any, Any]) -> None:
        """Refusals are fine; anything else that is raised is a defect."""
        with contextlib.suppress(PenstockError):
            self.run(work)

    @rule(name=NAMES)
    def create_endpoint(self, name: str) -> None:
        self.refused(self.platform.endpoints.create(name, EndpointSpec(), CALLER))

    @rule(name=NAMES, short=SHORT)
    def create_deployment(self, name: str, short: str) -> None:
        self.refused(self.platform.deployments.create(name, short, SERVED, CALLER))

    @rule(name=NAMES, traffic=st.dictionaries(SHORT, SHARES), mirror=st.dictionaries(SHORT, SHARES, max_size=1))
    def set_traffic(self, name: str, traffic: dict[str, int], mirror: dict[str, int]) -> None:
        self.refused(
            self.platform.endpoints.update(name, lambda s: replace(s, traffic=traffic, mirror_traffic=mirror), CALLER)
        )

    @rule(name=NAMES, short=SHORT, count=st.integers(0, 3), text=st.sampled_from(["", "d"]))
    def update_deployment(self, name: str, short: str, count: int, text: str) -> None:
        self.refused(
            self.platform.deployments.update(
                name, short, lambda s: replace(s, instance_count=count, description=text), CALLER
            )
        )

    @rule(name=NAMES, short=SHORT)
    def delete_deployment(self, name: str, short: str) -> None:
        self.refused(self.platform.deployments.delete(name, short, CALLER))

    @rule(name=NAMES)
    def delete_endpoint(self, name: str) -> None:
        self.refused(self.platform.endpoints.delete(name, CALLER))

    @rule(state=SETTLED, stale=st.booleans())
    def report(self, state: ProvisioningState, stale: bool) -> None:
        def said(record: EndpointRecord | DeploymentRecord) -> Report:
            on_its_way_out = state is ProvisioningState.SUCCEEDED and record.deleting
            return Report(record.generation - stale, ProvisioningState.DELETING if on_its_way_out else state)

        desired = self.platform.desired
        for tree in self.trees():
            endpoint = tree.endpoint
            effective = endpoint.spec.traffic if state is ProvisioningState.SUCCEEDED else None
            assert self.run(desired.report_endpoint(endpoint.uid, said(endpoint), effective)) is not stale
            for deployment in tree.deployments:
                assert self.run(desired.report_deployment(deployment.uid, said(deployment), 1)) is not stale

    @rule()
    def clean_up(self) -> None:
        desired = self.platform.desired
        for tree in self.trees():
            self.run(desired.mark_deployments_deleting(tree.endpoint.uid))
            for deployment in tree.deployments:
                self.run(desired.remove_deployment(deployment.uid))
            self.run(desired.remove_endpoint(tree.endpoint.uid))

    @invariant()
    def traffic_is_whole_and_names_what_exists(self) -> None:
        for tree in self.trees():
            spec, names = tree.endpoint.spec, {d.name for d in tree.deployments}
            assert sum(spec.traffic.values()) in (0, 100)
            assert set(spec.traffic) | set(spec.mirror_traffic) <= names
            if not tree.endpoint.deleting:
                going = {d.name for d in tree.deployments if d.deleting}
                assert not going & (set(spec.traffic) | set(spec.mirror_traffic))

    @invariant()
    def every_generation_has_an_etag_of_its_own(self) -> None:
        for record in self.records():
            generation, etag = self.etags.get(record.uid, (0, ""))
            assert record.generation >= generation
            if record.generation == generation:
                assert record.etag == etag
            else:
                assert record.etag not in self.all_etags
                self.etags[record.uid] = (record.generation, record.etag)
                self.all_etags.add(record.etag)
            assert record.report.generation <= record.generation

    @invariant()
    def who_waits_waits_for_something_that_is_on_its_way(self) -> None:
        records = {record.uid: record for record in self.records()}
        for operation in self.run(self.operations()):
            if not operation.done:
                record = records[operation.target_uid]
                assert operation.generation <= record.generation
                assert not settled(record.report, operation.generation)

    async def operations(self) -> Any:
        async with self.platform.store.read() as transaction:
            return await transaction.operations.page(None, 1000)

    def trees(self) -> list[EndpointTree]:
        return list(self.run(self.platform.desired.endpoints()))

    def records(self) -> list[EndpointRecord | DeploymentRecord]:
        return [record for tree in self.trees() for record in (tree.endpoint, *tree.deployments)]

    def teardown(self) -> None:
        self.run(self.platform.store.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


TestDesiredState = DesiredStateMachine.TestCase
TestDesiredState.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
