"""A process that changes the store as fast as it can and says what was accepted, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from controlplane.domain.specs import EndpointSpec
from tests.support.platform import CALLER, open_platform


async def main(folder: Path, first: int) -> None:
    platform = await open_platform(folder)
    platform.randomness.skip(first * 1000)
    for number in range(first, first + 10_000):
        await platform.endpoints.create(f"end{number:05}", EndpointSpec(), CALLER)
        sys.stdout.write(f"end{number:05}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
