"""Check the ``.proto`` files with buf: format, then lint (STANDARD and COMMENTS).

buf would fetch Google's API annotations from its registry; here they come from the installed
``googleapis-common-protos``, laid beside our files in a temporary module, so that linting works without a network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from generate import PROTOS, include_paths, stage_operations

IMPORTED = ("google/api", "google/longrunning", "google/rpc")


def main() -> int:
    """Print what is wrong; 0 when nothing is."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
    if subprocess.run([buf, "format", "--diff", "--exit-code"], cwd=PROTOS, check=False).returncode:
        return 1
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder)
        for ours in ("penstock", "inference"):
            shutil.copytree(PROTOS / ours, module / ours)
        shutil.copy(PROTOS / "buf.yaml", module)
        site_packages = include_paths()[-1]
        for package in IMPORTED:
            for source in (site_packages / package).glob("*.proto"):
                if source.name == "operations_proto.proto":
                    continue  # laid under its public name below
                target = module / package / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        stage_operations(module)
        return subprocess.run([buf, "lint"], cwd=module, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
