"""A conda environment file, read for a Python package index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from controlplane.backends.environments import conda_specs, requirements
from controlplane.backends.environments.conda_names import needs_the_machine, pypi_name
from controlplane.backends.environments.wanted import (
    Difference,
    EnvironmentFileError,
    Wanted,
    WantedEnvironment,
    wanted,
)


def read(text: str) -> WantedEnvironment:
    """What the file asks for, and where an index cannot give exactly that.

    Raises:
        EnvironmentFileError: it is no conda environment file.
    """
    tree = _load(text)
    python, packages, options = "", list[Wanted](), list[str]()
    differences = _about_the_rest(tree)
    unbuilt, left_out, of_the_machine = list[str](), list[str](), list[str]()
    for entry in tree.get("dependencies") or ():
        if isinstance(entry, Mapping):
            inner = _pip_entries(entry)
            packages += inner.packages
            options += inner.options
        elif isinstance(entry, str):
            spec = conda_specs.parse(entry)
            if canonicalize_name(spec.name) == "python":
                python = spec.specifier
            elif (name := pypi_name(spec.name)) is not None:
                packages.append(wanted(f"{name}{spec.specifier}", spec.asked))
                if spec.build:
                    unbuilt.append(spec.name)
                if spec.lost:
                    differences.append(Difference(f"{spec.name}: {spec.lost}"))
            else:
                (of_the_machine if needs_the_machine(spec.name) else left_out).append(spec.name)
        else:
            raise EnvironmentFileError(f"the conda file's dependencies hold {entry!r}, which is not a package")
    differences += _summaries(unbuilt, left_out, of_the_machine)
    return WantedEnvironment(
        python=python,
        packages=tuple(dict.fromkeys(packages)),
        options=tuple(options),
        differences=tuple(differences),
    )


def _load(text: str) -> Mapping[str, Any]:
    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EnvironmentFileError(f"the conda file is not YAML{line}: {error.problem}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise EnvironmentFileError(f"the conda file is not YAML: {error}") from error
    if not isinstance(tree, Mapping) or not isinstance(tree.get("dependencies", []), list | None):
        raise EnvironmentFileError("the conda file has no list of dependencies")
    return tree


def _about_the_rest(tree: Mapping[str, Any]) -> list[Difference]:
    differences = []
    channels = [str(channel) for channel in tree.get("channels") or ()]
    if special := [
        channel for channel in channels if channel not in ("defaults", "conda-forge", "anaconda", "nodefaults")
    ]:
        differences.append(
            Difference(
                f"packages come from the Python package index instead of the channels {', '.join(special)}", True
            )
        )
    if tree.get("variables"):
        names = ", ".join(map(str, tree["variables"]))
        differences.append(Difference(f"the conda file's variables are not set ({names}): use environment_variables"))
    return differences


def _pip_entries(entry: Mapping[str, Any]) -> WantedEnvironment:
    if set(entry) != {"pip"} or not isinstance(entry["pip"], list | None):
        raise EnvironmentFileError(
            f"the conda file's dependencies hold {', '.join(map(str, entry))}, which is not 'pip'"
        )
    return requirements.read("\n".join(str(line) for line in entry["pip"] or ()))


def _summaries(unbuilt: list[str], left_out: list[str], of_the_machine: list[str]) -> list[Difference]:
    """One sentence for each kind: an exported environment lists a hundred builds."""
    sentences = {
        "{} not installed: the packages that need {} bring their own": left_out,
        "{} not installed: the machine's own is used": of_the_machine,
        "{} taken from the Python package index, which does not have conda's builds": unbuilt,
    }
    return [
        Difference(
            sentence.format(
                f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}", "it" if len(names) == 1 else "them"
            ),
            equivalent=True,
        )
        for sentence, names in sentences.items()
        if names
    ]
