"""The committed stubs are those of the .proto files, and both sides name the same reasons."""

from __future__ import annotations

import filecmp
import subprocess
import sys
from pathlib import Path

import pytest
from google.longrunning import operations_pb2_grpc

from controlplane.domain.errors import ErrorReason, NotFoundError, PenstockError
from controlplane.domain.instances import InstanceState
from controlplane.domain.status import ConditionStatus, ProvisioningState
from penstock.v1 import common_pb2, error_pb2, instance_pb2

ROOT = Path(__file__).parents[2]


def test_generating_the_stubs_again_changes_nothing(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "protos" / "generate.py", tmp_path], check=True, capture_output=True, cwd=ROOT
    )
    made, committed = tmp_path / "penstock" / "v1", ROOT / "penstock" / "v1"
    names = sorted(path.name for path in made.iterdir())
    assert names == sorted(path.name for path in committed.glob("*_pb2*.py*"))
    _, different, broken = filecmp.cmpfiles(made, committed, names, shallow=False)
    assert (different, broken) == ([], []), "run `make protos`"


def test_buf_has_nothing_to_say() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "protos" / "lint.py"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_stub_can_be_imported_in_a_bare_process() -> None:
    modules = [f"penstock.v1.{path.stem}" for path in sorted((ROOT / "penstock" / "v1").glob("*_pb2*.py"))]
    code = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)
    assert operations_pb2_grpc.OperationsStub


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (ErrorReason, error_pb2.ErrorReason, "ERROR_REASON_"),
        (ProvisioningState, common_pb2.ProvisioningState, "PROVISIONING_STATE_"),
        (ConditionStatus, common_pb2.ConditionStatus, "CONDITION_STATUS_"),
        (InstanceState, instance_pb2.InstanceState, "INSTANCE_STATE_"),
    ],
)
def test_the_domain_and_the_api_name_the_same_things(ours, theirs, prefix: str) -> None:
    assert {f"{prefix}{member.name}" for member in ours} | {f"{prefix}UNSPECIFIED"} == set(theirs.keys())


def test_every_reason_is_given_by_some_error() -> None:
    def below(kind: type[PenstockError]) -> set[type[PenstockError]]:
        return {kind}.union(*(below(sub) for sub in kind.__subclasses__()))

    given = {kind.reason for kind in below(PenstockError) if kind is not NotFoundError}
    missing = {reason for reason in ErrorReason if not reason.name.endswith("_NOT_FOUND")} - given
    assert missing == set()
