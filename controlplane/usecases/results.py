"""What use cases answer, beside the domain's records."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.domain.operations import OperationRecord
from controlplane.domain.records import DeploymentRecord, EndpointRecord


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint with the names of its deployments: traffic is shown with a 0 for those without a share."""

    record: EndpointRecord
    deployments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A change that was accepted: its operation, and the resource once the operation is done well.

    ``result`` is None while the operation runs, when it failed, and after a delete. The operation of a call that only
    validates has no id and is not stored.
    """

    operation: OperationRecord
    result: EndpointView | DeploymentRecord | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """Both keys of an endpoint."""

    primary: str
    secondary: str
