"""Names and references in manifests. The rules are the contract's; the platform checks them again."""

from __future__ import annotations

import re

from penstock.errors import Position
from penstock.manifest.fields import Fields, Report
from penstock.manifest.values import Registered

_SHORT = re.compile(r"[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
_LONG = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-._]{0,254}")
_VERSION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-._]{0,49}")
_LENGTH = range(3, 33)


def is_short_name(name: str) -> bool:
    """Whether an endpoint or a deployment may be called so."""
    return len(name) in _LENGTH and _SHORT.fullmatch(name) is not None


def short_name(fields: Fields, key: str, *, required: bool = False) -> str:
    """The name of an endpoint or a deployment under ``key``."""
    name = fields.text(key, required=required)
    if name and not is_short_name(name):
        node = fields.value(key)
        fields.report.problem(
            node.position if node else fields.at(key),
            f"`{key}: {name}` is no valid name: 3 to 32 characters, a letter first, then letters, digits and hyphens, "
            "no hyphen at the end",
        )
    return name


def registered_name(fields: Fields, *, required: bool = False) -> tuple[str, str]:
    """The ``name`` and ``version`` of a model or an environment; either may be empty."""
    name, version = fields.text("name", required=required), fields.text("version")
    if name and not _LONG.fullmatch(name):
        fields.report.problem(
            fields.at("name"),
            f"`name: {name}` is no valid name: 1 to 255 letters, digits, hyphens, dots and underscores, a letter or "
            "digit first",
        )
    if version and (not _VERSION.fullmatch(version) or version == "latest"):
        fields.report.problem(
            fields.at("version"),
            f"`version: {version}` is no valid version: 1 to 50 letters, digits, hyphens, dots and underscores",
        )
    if version and not name:
        fields.report.problem(fields.at("version"), "`version` needs a `name` beside it")
    return name, version


def reference(text: str, key: str, at: Position, report: Report) -> Registered | None:
    """``azureml:NAME:VERSION`` or ``azureml:NAME@latest``; anything else is reported."""
    body = text.removeprefix("azureml:")
    if body.startswith("/"):
        where = "another registry" if "registries" in body else "an Azure workspace"
        report.problem(at, f"`{key}: {text}` lives in {where}, which cannot be reached from here; {_instead(key)}")
        return None
    for separator in ("@", ":"):
        name, found, version = body.rpartition(separator)
        if not found:
            continue
        if separator == "@" and version != "latest":
            report.problem(at, f"`{key}: {text}` uses the label '{version}'; the only label is 'latest'")
            return None
        if _LONG.fullmatch(name) and _VERSION.fullmatch(version):
            return Registered(name, version)
    report.problem(at, f"`{key}: {text}` is no reference: write azureml:NAME:VERSION or azureml:NAME@latest")
    return None


def _instead(key: str) -> str:
    return "give the files by `path`" if key == "model" else "describe it inline, with `conda_file`"
