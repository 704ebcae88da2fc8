"""gRPC's packages beside the user's: added where they fit, and no deployment fails for them.

The user's packages are resolved without them, and stay as they are. What is missing of grpcio, protobuf and numpy is
then added, in versions those packages allow; where there are none, the deployment answers HTTP alone, and says why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from controlplane.backends.environments.wanted import Difference
from controlplane.backends.process.interpreters import Interpreter
from controlplane.backends.process.uv_errors import TRANSIENT, UvError
from controlplane.domain.ports import PreparationError

EXTRA = "grpc"
"""Of the scorer."""
PROBE = "import penstock_scorer.grpc.listener, penstock_scorer.grpc.service"
"""What a Python that answers gRPC can run."""


class Installer(Protocol):
    """What this needs of uv."""

    async def within(self, interpreter: Interpreter, needs: Sequence[str], pins: Sequence[str]) -> Sequence[str]:
        """Exact versions of ``needs`` and of what they need, none other than ``pins`` says.

        Raises:
            UvError: there are none.
        """

    async def install(self, solution: Sequence[str]) -> None:
        """Put exactly these into the environment, beside what is there. Raises as :meth:`within`."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of it."""

    works: bool = False
    packages: tuple[str, ...] = ()
    """With their versions."""
    differences: tuple[Difference, ...] = ()


async def add(
    needs: Sequence[str],
    solution: Sequence[str],
    installer: Installer,
    interpreter: Interpreter,
    probe: Callable[[], Awaitable[None]],
) -> Added:
    """Install what of ``needs`` is missing in ``solution``.

    ``probe`` runs :data:`PROBE` in the environment, and raises PreparationError if that fails.

    Raises:
        UvError: it cannot be found out now whether they fit: the network is away, or the disk is full.
    """
    if not needs:
        return Added()
    missing: tuple[str, ...] = ()
    try:
        found = await installer.within(interpreter, needs, [line for line in solution if "==" in line])
        there = {_name(line) for line in solution}
        missing = tuple(line for line in found if _name(line) not in there)
        if missing:
            await installer.install(missing)
        await probe()
    except (UvError, PreparationError) as error:
        if isinstance(error, UvError) and error.obstacle in TRANSIENT:
            raise
        why = Difference(f"gRPC is not answered, HTTP alone: {error}", equivalent=True)
        return Added(packages=missing, differences=(why,))
    return Added(works=True, packages=missing)


def _name(line: str) -> str:
    return canonicalize_name(Requirement(line).name)
