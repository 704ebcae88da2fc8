"""Loading whole files: one function for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from penstock.errors import ManifestError, Problem
from penstock.manifest import environments, models
from penstock.manifest.deployments import read_deployment
from penstock.manifest.endpoints import read_endpoint
from penstock.manifest.fields import Fields, Report
from penstock.manifest.files import Files, Folder, LocalFiles, parse_mapping, read, shown
from penstock.manifest.overrides import lay_over
from penstock.manifest.values import ManifestDeployment, ManifestEndpoint, ManifestEnvironment, ManifestModel

T = TypeVar("T")

_DEPLOYMENT_KEYS = ("endpoint_name", "code_configuration", "instance_count", "scale_settings")
_OTHER_KINDS = {
    "batchendpoint": "a batch endpoint",
    "batchdeployment": "a batch deployment",
    "commandjob": "a job",
    "pipelinejob": "a pipeline",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A manifest that is no file: its text, how messages name it, and the folder its paths are relative to."""

    text: str
    name: str
    base: Path


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """What a file says, and what the user should be told about it: one sentence each."""

    value: T
    notes: tuple[str, ...] = ()


def load_endpoint(
    source: Path | Text, overrides: Iterable[str] = (), files: Files | None = None
) -> Loaded[ManifestEndpoint]:
    """The endpoint in a file (or text), with its deployments in the 2021 form.

    ``overrides`` are ``PATH=VALUE`` arguments laid over it.

    Raises:
        ManifestError: with every mistake in the file.
    """

    def parse(fields: Fields, folder: Folder) -> ManifestEndpoint | None:
        if any(key in fields for key in _DEPLOYMENT_KEYS):
            raise ManifestError(
                [_whole(fields, "this file describes a deployment, and an endpoint is needed here")],
                hint="`penstock online-deployment create` takes it",
            )
        return read_endpoint(fields, folder)

    return _load(source, overrides, files, parse)


def load_deployment(
    source: Path | Text, overrides: Iterable[str] = (), files: Files | None = None
) -> Loaded[ManifestDeployment]:
    """The deployment in a file, of either dialect.

    Raises:
        ManifestError: with every mistake in the file.
    """

    def parse(fields: Fields, folder: Folder) -> ManifestDeployment | None:
        if "deployments" in fields or "auth_mode" in fields:
            form = "endpoint" if "deployments" in fields else "online-endpoint"
            raise ManifestError(
                [_whole(fields, "this file describes an endpoint, and a deployment is needed here")],
                hint=f"`penstock {form} create` takes it",
            )
        return read_deployment(fields, folder)

    return _load(source, overrides, files, parse)


def load_model(source: Path | Text, overrides: Iterable[str] = (), files: Files | None = None) -> Loaded[ManifestModel]:
    """The model in a file.

    Raises:
        ManifestError: with every mistake in the file.
    """
    return _load(source, overrides, files, lambda fields, folder: models.read_model(fields, folder, named=True))


def load_environment(
    source: Path | Text, overrides: Iterable[str] = (), files: Files | None = None
) -> Loaded[ManifestEnvironment]:
    """The environment in a file.

    Raises:
        ManifestError: with every mistake in the file.
    """
    return _load(
        source, overrides, files, lambda fields, folder: environments.read_environment(fields, folder, named=True)
    )


def _load(
    source: Path | Text, overrides: Iterable[str], files: Files | None, parse: Callable[[Fields, Folder], T | None]
) -> Loaded[T]:
    files = files or LocalFiles()
    report = Report()
    if isinstance(source, Path):
        source = Text(read(files, source), shown(source), source.absolute().parent)
    fields = parse_mapping(source.text, source.name, report)
    value = None
    if fields is not None:
        fields = Fields(lay_over(fields.node, overrides), report)
        _check_kind(fields)
        value = parse(fields, Folder(source.base, files))
    if report.problems or value is None:
        raise ManifestError(report.problems)
    return Loaded(value, _notes(source.name, report))


def _check_kind(fields: Fields) -> None:
    """A file that says what it is, and is something else, gets that one sentence instead of twenty unknown keys."""
    schema = fields.text("$schema").rpartition("/")[2].partition(".")[0].lower()
    if schema in _OTHER_KINDS:
        raise ManifestError([_whole(fields, f"this file describes {_OTHER_KINDS[schema]}, which is not served yet")])


def _notes(file: str, report: Report) -> tuple[str, ...]:
    said = (("kept to be shown again, without a meaning", report.kept), ("without a meaning", report.dropped))
    return tuple(
        f"{file}: {what} on one's own machines: "
        + ", ".join(f"`{key}` (line {position.line})" for key, position in keys.items())
        for what, keys in said
        if keys
    )


def _whole(fields: Fields, message: str) -> Problem:
    return Problem(fields.node.position, message)
