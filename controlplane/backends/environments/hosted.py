"""What environments of the hosted service are written for, and what takes its place here.

``azureml-defaults`` brings the hosted service's own server and SDK. The scorer takes the place of both: it is the
server, and has shims for what scripts import of the SDK. What those packages brought along besides is installed when
the script imports it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from controlplane.backends.environments.wanted import Difference, WantedEnvironment, wanted

_REPLACED = {
    "azureml-defaults": "the scorer is the server, and has what scripts import of the SDK",
    "azureml-core": "the scorer has what scripts import of it",
    "azureml-inference-server-http": "the scorer is the server",
    "azureml-contrib-services": "the scorer has it",
    "azureml-model-management-sdk": "the scorer has what scripts import of it",
}
_BROUGHT_ALONG = {
    "flask": "flask",
    "werkzeug": "werkzeug",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "requests": "requests",
    "pydantic": "pydantic",
    "psutil": "psutil",
    "dateutil": "python-dateutil",
    "pytz": "pytz",
    "wrapt": "wrapt",
}
"""Imports that worked because `azureml-defaults` or the server depended on them, and the packages they come from."""
_RAWHTTP = ("azureml.contrib.services", "flask")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A wanted environment made fit for the scorer."""

    environment: WantedEnvironment
    scorer_extras: tuple[str, ...] = ()


def fit(environment: WantedEnvironment, imports: frozenset[str]) -> Fitted:
    """Take out what the scorer replaces, add what it needs for what the scripts import."""
    gone = [package for package in environment.packages if package.name in _REPLACED]
    kept = [package for package in environment.packages if package.name not in _REPLACED]
    names = {package.name for package in kept}
    added = []
    if gone:
        added = [package for module, package in _BROUGHT_ALONG.items() if module in imports and package not in names]
        if "inference-schema" not in names:
            added.append("inference-schema")
    raw = any(module in imports for module in _RAWHTTP)
    return Fitted(
        environment=replace(
            environment,
            packages=(*kept, *(wanted(name) for name in added)),
            differences=(
                *environment.differences,
                *(Difference(f"{package.name} is not installed: {_REPLACED[package.name]}", True) for package in gone),
            ),
        ),
        scorer_extras=("rawhttp",) if raw else (),
    )


def imports_of(scripts: Iterable[Path]) -> frozenset[str]:
    """What Python files import: each module's full name and every package above it.

    A file that does not parse imports nothing; the scorer will say what is wrong with it.
    """
    found: set[str] = set()
    for script in scripts:
        try:
            tree = ast.parse(script.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return frozenset(name.rsplit(".", cut)[0] for name in found for cut in range(name.count(".") + 1))
