"""Generate the committed stubs under ``penstock/v1`` from the ``.proto`` files beside this script.

Committed, so that users of ``penstock.v1`` need no compiler; `tests/architecture` regenerates them and fails on any
difference. Run it as ``make protos``, or with a folder to write to as its only argument.
"""

from __future__ import annotations

import sys
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
    sources = sorted((PROTOS / "penstock" / "v1").glob("*.proto"))
    code = protoc.main(
        [
            "protoc",
            *(f"--proto_path={path}" for path in include_paths()),
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out={out}",
            f"--mypy_grpc_out={out}",
            *(str(source.relative_to(PROTOS)) for source in sources),
        ]
    )
    if code != 0:
        sys.exit(code)


def include_paths() -> list[Path]:
    """Where imports are found: our files, protobuf's well-known types, Google's API annotations."""
    annotations = find_spec("google.api")
    if annotations is None or not annotations.submodule_search_locations:
        sys.exit("googleapis-common-protos is not installed: run `make setup`")
    site_packages = Path(next(iter(annotations.submodule_search_locations))).parent.parent
    return [PROTOS, Path(grpc_tools.__file__).parent / "_proto", site_packages]


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
