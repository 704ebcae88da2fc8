"""``python -m benchmarks [WORD...]``: run every benchmark whose name holds one of the words; by default all.

Each is a module ``benchmarks.ROOM.bench_WHAT`` and runs in a process of its own, so that none measures what another
left in memory. The figures are for reading; nothing is asserted, since machines are noisy.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def main(words: list[str]) -> int:
    """Run the benchmarks; the number of those that failed."""
    modules = sorted(
        ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts) for path in FOLDER.glob("*/bench_*.py")
    )
    chosen = [module for module in modules if not words or any(word in module for word in words)]
    if not chosen:
        print("no such benchmark; there are:", *modules, sep="\n  ")
        return 1
    failed = 0
    for module in chosen:
        print(f"\n== {module}", flush=True)
        begun = time.perf_counter()
        failed += subprocess.run([sys.executable, "-m", module], cwd=FOLDER.parent, check=False).returncode != 0
        print(f"   ({time.perf_counter() - begun:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
