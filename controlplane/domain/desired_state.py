"""The port through which reconcilers read the desired state and write what they observed.

Each call is one short transaction; none is held open while a backend or the gateway is talked to. A write names the
uid and the generation it was worked out from; when the resource has moved on meanwhile it does nothing and returns
False, and the reconciler is woken again by the change itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from controlplane.domain.instances import InstanceRecord
from controlplane.domain.records import EndpointTree, Report


class DesiredState(Protocol):
    """What reconcilers need of the store."""

    async def endpoints(self) -> Sequence[EndpointTree]:
        """Everything, for a start and for the resync."""

    async def endpoint(self, name: str) -> EndpointTree | None:
        """One endpoint with its deployments and instances, or None when it is gone."""

    async def instance_ids(self) -> frozenset[str]:
        """Every recorded instance: what a backend runs beyond these is nobody's."""

    async def report_endpoint(
        self, uid: str, report: Report, effective_traffic: Mapping[str, int] | None = None
    ) -> bool:
        """Store a report, and end the operations it settles.

        An operation ends when ``report.state`` is SUCCEEDED (done) or FAILED (with the first false condition's
        message and detail as its error) and ``report.generation`` is at least the operation's. Writes nothing when
        nothing changed. ``effective_traffic`` replaces the stored one when given.
        """

    async def report_deployment(self, uid: str, report: Report, ready_instances: int) -> bool:
        """The same for a deployment."""

    async def report_deployments(self, reports: Sequence[tuple[str, Report, int]]) -> None:
        """The same for many (uid, report, ready instances) in one transaction; stale ones are left out."""

    async def report_progress(self, target: str, message: str) -> None:
        """Tell the operations that change ``target`` (a resource name) what is going on, one line."""

    async def record_instances(self, deployment_uid: str, instances: Sequence[InstanceRecord]) -> bool:
        """Record instances that are about to be started. False when the deployment is gone or being deleted."""

    async def drain_instances(self, ids: Sequence[str]) -> None:
        """Mark instances as draining, for good."""

    async def forget_instances(self, ids: Sequence[str]) -> None:
        """Remove records of instances that are no more."""

    async def mark_deployments_deleting(self, endpoint_uid: str) -> None:
        """Have every deployment of an endpoint that is being deleted go too."""

    async def remove_deployment(self, uid: str) -> None:
        """Remove a deployment that is being deleted and has no instances left; ends its operations as done."""

    async def remove_endpoint(self, uid: str) -> None:
        """Remove an endpoint that is being deleted and has no deployments left; ends its operations as done."""
