"""Generate the committed stubs under ``penstock/v1`` from the ``.proto`` files beside this script.

Committed, so that users of ``penstock.v1`` need no compiler; `tests/architecture` regenerates them and fails on any
difference. Run it as ``make protos``, or with a folder to write to as its only argument.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent


def generate(out: Path) -> None:
    """Write the modules, their ``.pyi`` and the gRPC stubs below ``out``.

    Raises:
        SystemExit: the compiler refused a file; its message is on stderr.
    """
    beside = Path(sys.executable).parent
    sources = sorted((PROTOS / "penstock" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as staged:
        stage_operations(Path(staged))
        code = protoc.main(
            [
                "protoc",
                *(f"--proto_path={path}" for path in (Path(staged), *include_paths())),
                *(f"--plugin=protoc-gen-{name}={beside}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")),
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_out={out}",
                f"--mypy_grpc_out={out}",
                *(str(source.relative_to(PROTOS)) for source in sources),
            ]
        )
    if code != 0:
        sys.exit(code)
    for generated in (out / "penstock" / "v1").glob("*_pb2*.py*"):
        _import_operations_from_where_they_are(generated)


def include_paths() -> list[Path]:
    """Where imports are found: our files, protobuf's well-known types, Google's API annotations."""
    annotations = find_spec("google.api")
    if annotations is None or not annotations.submodule_search_locations:
        sys.exit("googleapis-common-protos is not installed: run `make setup`")
    site_packages = Path(next(iter(annotations.submodule_search_locations))).parent.parent
    return [PROTOS, Path(grpc_tools.__file__).parent / "_proto", site_packages]


def stage_operations(folder: Path) -> None:
    """Lay ``google/longrunning/operations.proto`` below ``folder``.

    The installed file is called ``operations_proto.proto``, while its compiled module registers itself under the
    public name; stubs that name the former cannot be loaded.
    """
    target = folder / "google" / "longrunning" / "operations.proto"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(include_paths()[-1] / "google" / "longrunning" / "operations_proto.proto", target)


def _import_operations_from_where_they_are(generated: Path) -> None:
    """``operations_pb2`` belongs to two distributions with two contents; ``operations_proto_pb2`` to one."""
    text = generated.read_text()
    changed = text.replace(
        "from google.longrunning import operations_pb2 as", "from google.longrunning import operations_proto_pb2 as"
    )
    if changed != text:
        generated.write_text(changed)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
