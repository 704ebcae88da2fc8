"""Ranges and rules of every spec, checked together so that a user hears all mistakes at once.

Field paths are those of the API's messages, which are the YAML's too. Ranges: the comments in ``penstock/v1``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from controlplane.domain.endpoint_options import endpoint_options, misplaced_options
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.specs import (
    DeploymentSpec,
    EndpointSpec,
    EnvironmentSpec,
    HttpRoute,
    ModelSpec,
    ProbeSettings,
    RequestSettings,
)

T = TypeVar("T")
TEXT_MAX = 1 << 20
"""Bytes of a conda or pip file, at most."""
LABELS_MAX = 1 << 16
"""Bytes of all keys and values of one map of labels, at most."""
RESERVED_PREFIX = "PENSTOCK_"
INSTANCES_MAX = 1000
MILLISECONDS_MAX = 180_000
SECONDS_MAX = 3600
_VARIABLE = re.compile(r"[^=\0]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Mistakes:
    """Gathers violations from several checks, to refuse once with all of them."""

    def __init__(self) -> None:
        self.found: list[Violation] = []
        self._kinds: set[type[InvalidArgumentError]] = set()

    def add(self, field: str, description: str) -> None:
        """Note one."""
        self.found.append(Violation(field, description))
        self._kinds.add(InvalidArgumentError)

    def gather(self, check: Callable[[], T]) -> T | None:
        """What ``check`` returns, or None with its violations noted."""
        try:
            return check()
        except InvalidArgumentError as error:
            self.found += error.violations
            self._kinds.add(type(error))
            return None

    def refuse(self) -> None:
        """Raise what was noted, if anything was: as its own kind when all of it is of one kind.

        Raises:
            InvalidArgumentError: with every violation.
        """
        if not self.found:
            return
        kind = next(iter(self._kinds)) if len(self._kinds) == 1 else InvalidArgumentError
        raise kind(*self.found)


def check_endpoint(spec: EndpointSpec) -> None:
    """Everything about an endpoint's spec except its traffic, which needs the deployments.

    Raises:
        InvalidArgumentError: with one violation per mistake.
    """
    _, mistakes = endpoint_options(spec.properties)
    _refuse((*mistakes, *_labels(spec.description, spec.tags, spec.properties, spec.retained)))


def check_deployment(spec: DeploymentSpec) -> None:
    """A deployment's spec.

    Raises:
        InvalidArgumentError: with one violation per mistake.
    """
    _refuse(_deployment(spec))


def check_model(spec: ModelSpec) -> None:
    """A model's spec.

    Raises:
        InvalidArgumentError: with one violation per mistake.
    """
    _refuse((*_sha256("asset", spec.asset), *_labels(spec.description, spec.tags, spec.properties, {})))


def check_environment(spec: EnvironmentSpec) -> None:
    """An environment's spec.

    Raises:
        InvalidArgumentError: with one violation per mistake.
    """
    _refuse(_environment(spec))


def _refuse(found: Iterator[Violation] | tuple[Violation, ...]) -> None:
    violations = tuple(found)
    if violations:
        raise InvalidArgumentError(*violations)


def _deployment(spec: DeploymentSpec) -> Iterator[Violation]:
    if spec.code_asset:
        yield from _sha256("code_configuration.code", spec.code_asset)
        if not spec.scoring_script:
            yield Violation("code_configuration.scoring_script", "is required together with code")
    elif spec.scoring_script:
        yield Violation("code_configuration.code", "is required together with scoring_script")
    if spec.scoring_script and not _inside(spec.scoring_script):
        yield Violation(
            "code_configuration.scoring_script",
            f"'{spec.scoring_script}' is not a path inside the code folder, such as score.py",
        )
    if not spec.model and not spec.code_asset and not spec.environment:
        yield Violation("code_configuration", "nothing to serve: give a model, code, or an environment that serves")
    yield from _variables(spec.environment_variables)
    yield from _between("instance_count", spec.instance_count, 0, INSTANCES_MAX)
    yield from _requests(spec.request_settings)
    yield from _probe("liveness_probe", spec.liveness_probe)
    yield from _probe("readiness_probe", spec.readiness_probe)
    if spec.model_mount_path and not spec.model_mount_path.startswith("/"):
        yield Violation("model_mount_path", f"'{spec.model_mount_path}' is not an absolute path")
    yield from misplaced_options(spec.properties)
    yield from _labels(spec.description, spec.tags, spec.properties, spec.retained)


def _requests(settings: RequestSettings) -> Iterator[Violation]:
    of = "request_settings."
    yield from _between(of + "request_timeout_ms", settings.request_timeout_ms, 1, MILLISECONDS_MAX)
    yield from _between(
        of + "max_concurrent_requests_per_instance", settings.max_concurrent_requests_per_instance, 1, 1000
    )
    yield from _between(of + "max_queue_wait_ms", settings.max_queue_wait_ms, 1, MILLISECONDS_MAX)


def _probe(field: str, probe: ProbeSettings) -> Iterator[Violation]:
    yield from _between(f"{field}.initial_delay_seconds", probe.initial_delay_seconds, 0, SECONDS_MAX)
    yield from _between(f"{field}.period_seconds", probe.period_seconds, 1, SECONDS_MAX)
    yield from _between(f"{field}.timeout_seconds", probe.timeout_seconds, 1, SECONDS_MAX)
    yield from _between(f"{field}.success_threshold", probe.success_threshold, 1, 100)
    yield from _between(f"{field}.failure_threshold", probe.failure_threshold, 1, 1000)


def _variables(variables: Mapping[str, str]) -> Iterator[Violation]:
    for name, value in variables.items():
        field = f"environment_variables.{name}"
        if not _VARIABLE.fullmatch(name):
            yield Violation(field, "a variable's name is not empty and has no '='")
        elif name.startswith(RESERVED_PREFIX):
            yield Violation(field, f"names starting with {RESERVED_PREFIX} belong to the platform")
        if "\0" in value:
            yield Violation(field, "a value cannot hold a zero byte")


def _environment(spec: EnvironmentSpec) -> Iterator[Violation]:
    if spec.conda_file and spec.pip_requirements:
        yield Violation("pip_requirements", "cannot be given together with conda_file: put them under its pip section")
    for field, text in (("conda_file", spec.conda_file), ("pip_requirements", spec.pip_requirements)):
        if len(text.encode()) > TEXT_MAX:
            yield Violation(field, f"has {len(text.encode())} bytes, and at most {TEXT_MAX} are taken")
    if spec.build is not None:
        yield from _sha256("build.asset", spec.build.asset)
        if spec.image:
            yield Violation("build", "cannot be given together with image")
        if not _inside(spec.build.dockerfile_path):
            yield Violation(
                "build.dockerfile_path", f"'{spec.build.dockerfile_path}' is not a path inside the build context"
            )
    if spec.inference_config is not None:
        config = spec.inference_config
        yield from _route("inference_config.liveness_route", config.liveness_route)
        yield from _route("inference_config.readiness_route", config.readiness_route)
        yield from _route("inference_config.scoring_route", config.scoring_route)
    yield from _labels(spec.description, spec.tags, spec.properties, {})


def _route(field: str, route: HttpRoute | None) -> Iterator[Violation]:
    if route is None:
        return
    yield from _between(f"{field}.port", route.port, 1, 65535)
    if not route.path.startswith("/"):
        yield Violation(f"{field}.path", f"'{route.path}' does not start with '/'")


def _labels(
    description: str, tags: Mapping[str, str], properties: Mapping[str, str], retained: Mapping[str, str]
) -> Iterator[Violation]:
    if len(description.encode()) > LABELS_MAX:
        yield Violation("description", f"has {len(description.encode())} bytes, and at most {LABELS_MAX} are taken")
    for field, labels in (("tags", tags), ("properties", properties), ("retained", retained)):
        size = sum(len(key.encode()) + len(value.encode()) for key, value in labels.items())
        if size > LABELS_MAX:
            yield Violation(field, f"has {size} bytes, and at most {LABELS_MAX} are taken")
        if "" in labels:
            yield Violation(field, "has an empty key")


def _between(field: str, value: float, low: float, high: float) -> Iterator[Violation]:
    if not low <= value <= high:  # NaN is refused too: it compares false
        yield Violation(field, f"is {value:g}, and {low:g} to {high:g} are taken")


def _sha256(field: str, digest: str) -> Iterator[Violation]:
    if not _SHA256.fullmatch(digest):
        yield Violation(field, "is required, as assets/sha256:HEX" if not digest else f"'{digest}' is no sha256")


def _inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(path) and not parts.is_absolute() and ".." not in parts.parts and "\0" not in path
