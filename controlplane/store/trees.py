"""Endpoints with all that stands behind them: one query per table, however many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from controlplane.domain.instances import InstanceRecord
from controlplane.domain.records import DeploymentRecord, EndpointTree
from controlplane.store.store import Transaction


async def read_tree(transaction: Transaction, name: str) -> EndpointTree | None:
    """One endpoint's."""
    endpoint = await transaction.endpoints.get(name)
    if endpoint is None:
        return None
    return EndpointTree(
        endpoint=endpoint,
        deployments=tuple(await transaction.deployments.of_endpoint(endpoint.uid)),
        instances=tuple(await transaction.instances.of_endpoint(endpoint.uid)),
    )


async def read_trees(transaction: Transaction) -> Sequence[EndpointTree]:
    """All, by name."""
    deployments: dict[str, list[DeploymentRecord]] = defaultdict(list)
    for deployment in await transaction.deployments.all():
        deployments[deployment.endpoint].append(deployment)
    instances: dict[str, list[InstanceRecord]] = defaultdict(list)
    for instance in await transaction.instances.all():
        instances[instance.endpoint].append(instance)
    return [
        EndpointTree(endpoint, tuple(deployments[endpoint.name]), tuple(instances[endpoint.name]))
        for endpoint in await transaction.endpoints.all()
    ]
