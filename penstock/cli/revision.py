"""What a 2021 file changes, and the rule that one update changes one kind of thing.

The rule is the 2021 dialect's own: an ``update -f`` is declarative, and changes exactly one of traffic, scale
settings, code, model or environment, so that a roll-out goes step by step and each step can be looked at. Traffic maps
are compared without their zeros, so adding ``green`` together with ``green: 0`` is one change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.cli import shapes
from penstock.errors import PenstockError
from penstock.v1.deployment_pb2 import Deployment
from penstock.v1.endpoint_pb2 import Endpoint


class Kind(StrEnum):
    """Kinds of change, as users read them."""

    TRAFFIC = "traffic"
    ADDED = "added deployments"
    REMOVED = "removed deployments"
    SCALE = "scale settings"
    CODE = "code"
    MODEL = "model"
    ENVIRONMENT = "environment"
    SETTINGS = "settings"
    """Requests, probes, variables, and what only people read."""


class TwoKindsError(PenstockError):
    """The file changes more than one kind of thing."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What is to be done; at most one of these is not empty."""

    kind: Kind | None = None
    """None: nothing differs."""
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    endpoint_fields: tuple[str, ...] = ()


_FIELDS = {
    "instance_count": Kind.SCALE,
    "instance_type": Kind.SCALE,
    "code_configuration": Kind.CODE,
    "model": Kind.MODEL,
    "environment": Kind.ENVIRONMENT,
    "strict_environment": Kind.ENVIRONMENT,
    "environment_variables": Kind.SETTINGS,
    "request_settings": Kind.SETTINGS,
    "liveness_probe": Kind.SETTINGS,
    "readiness_probe": Kind.SETTINGS,
    "model_mount_path": Kind.SETTINGS,
    "description": Kind.SETTINGS,
    "tags": Kind.SETTINGS,
    "properties": Kind.SETTINGS,
    "retained": Kind.SETTINGS,
}
_ENDPOINT_FIELDS = ("description", "tags", "properties", "retained")


def revise(
    endpoint: Endpoint,
    deployments: Mapping[str, Deployment],
    wanted_endpoint: Endpoint,
    wanted: Mapping[str, Deployment],
) -> Revision:
    """The change from what is there to what is wanted, by short names.

    Raises:
        TwoKindsError: it is more than one kind of change.
    """
    added = tuple(sorted(wanted.keys() - deployments.keys()))
    removed = tuple(sorted(deployments.keys() - wanted.keys()))
    kinds: dict[Kind, list[str]] = {}
    if _shares(endpoint) != _shares(wanted_endpoint):
        kinds[Kind.TRAFFIC] = []
    if added:
        kinds[Kind.ADDED] = []
    if removed:
        kinds[Kind.REMOVED] = []
    fields = tuple(f for f in _ENDPOINT_FIELDS if getattr(endpoint, f) != getattr(wanted_endpoint, f))
    if fields:
        kinds[Kind.SETTINGS] = []
    for name in sorted(wanted.keys() & deployments.keys()):
        for kind in _differences(deployments[name], wanted[name]):
            kinds.setdefault(kind, []).append(name)
    if len(kinds) > 1:
        raise TwoKindsError(
            f"the file changes {' and '.join(kinds)}, and one update changes one kind of thing",
            hint="nothing was changed; make one change after the other",
        )
    if not kinds:
        return Revision()
    ((kind, names),) = kinds.items()
    return Revision(
        kind=kind,
        add=added,
        remove=removed,
        change=tuple(names),
        endpoint_fields=fields,
    )


def _differences(now: Deployment, wanted: Deployment) -> set[Kind]:
    before, after = _comparable(now), _comparable(wanted)
    return {kind for field, kind in _FIELDS.items() if before[field] != after[field]}


def _comparable(deployment: Deployment) -> dict[str, object]:
    """Its fields with the defaults filled in, so that leaving one out is no change."""
    shown = shapes.deployment(deployment)
    return {field: shown[field] for field in _FIELDS if field != "retained"} | {"retained": dict(deployment.retained)}


def _shares(endpoint: Endpoint) -> tuple[dict[str, int], dict[str, int]]:
    return _without_zeros(endpoint.traffic), _without_zeros(endpoint.mirror_traffic)


def _without_zeros(traffic: Mapping[str, int]) -> dict[str, int]:
    return {name: percent for name, percent in traffic.items() if percent}
