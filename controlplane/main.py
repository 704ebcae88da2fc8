"""The command line of ``python -m controlplane``: run a control plane until it is told to stop.

``... down`` cleans up after a killed one; ``... gateway`` serves what it served last while it is away.

What goes wrong is one sentence on the last line of stderr, starting with ``error:``, and exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from pydantic import ValidationError

from controlplane.domain.errors import PenstockError
from controlplane.home_files import HomeInUseError, exclusive
from controlplane.logging import configure_logging
from controlplane.pki.authority import AuthorityError
from controlplane.settings import Settings, process_environment
from gateway.certificate import CertificateError


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m controlplane", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("run", "down", "gateway"), default="run", help="default: run")
    parser.add_argument("--once", action="store_true", help="gateway: end when the control plane is back")
    parsed = parser.parse_args()
    action = parsed.action
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        return _fail(f"the setting {'.'.join(map(str, first['loc']))} is wrong: {first['msg']}")
    configure_logging(settings.log_level, settings.log_format)
    try:
        settings.home.make()
        if action == "gateway":
            return asyncio.run(_stand_in(settings, stay=not parsed.once))
        with exclusive(settings.home):
            return asyncio.run(_run(settings) if action == "run" else _sweep(settings))
    except (PenstockError, HomeInUseError, CertificateError, AuthorityError) as error:
        return _fail(str(error), error.hint)
    except OSError as error:
        return _fail(f"{error.filename or settings.home.folder}: {error.strerror or error}")


async def _run(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    # Imported here: the concrete parts take most of the start-up, and a home in use is refused without them.
    from controlplane.server import ControlPlane  # noqa: PLC0415

    plane = ControlPlane(settings, process_environment())
    starting = asyncio.create_task(plane.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    (failure,) = await asyncio.gather(starting, return_exceptions=True)
    if failure is not None:
        stopping.cancel()
        await plane.abandon()
        return _not_started(failure)
    await stopping
    await plane.stop()
    return 0


async def _stand_in(settings: Settings, *, stay: bool) -> int:
    from controlplane.server import stand_in  # noqa: PLC0415

    task = asyncio.ensure_future(stand_in(settings, stay=stay))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    (failure,) = await asyncio.gather(task, return_exceptions=True)
    return 0 if failure is None else _not_started(failure)


def _not_started(error: BaseException) -> int:
    if isinstance(error, asyncio.CancelledError):
        return 0
    if not hasattr(error, "hint") and not isinstance(error, OSError):
        raise error
    return _fail(str(error), getattr(error, "hint", ""))


async def _sweep(settings: Settings) -> int:
    from controlplane.server import sweep  # noqa: PLC0415

    await sweep(settings, process_environment())
    return 0


def _fail(sentence: str, hint: str = "") -> int:
    more = f" ({hint})" if hint and hint not in sentence else ""
    sys.stderr.write(f"error: {sentence}{more}\n")
    return 1
