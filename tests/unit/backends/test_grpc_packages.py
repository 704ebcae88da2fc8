"""gRPC's packages come beside the user's, and never in their way."""

from collections.abc import Sequence

import pytest
from packaging.version import Version

from controlplane.backends.process.grpc_packages import EXTRA, Added, add
from controlplane.backends.process.interpreters import Interpreter
from controlplane.backends.process.scorer_wheel import ScorerSource
from controlplane.backends.process.uv_errors import Obstacle, UvError
from controlplane.domain.ports import PreparationError

HERE = Interpreter("/usr/bin/python3", Version("3.11"))
FOUND = ("grpcio==1.80", "protobuf==6.31", "numpy==2.0")


class Uv:
    """Finds what it is told to, and remembers what it is asked for."""

    def __init__(self, error: UvError | None = None) -> None:
        self.error = error
        self.installed: list[str] = []
        self.pins: list[str] = []

    async def within(self, interpreter: Interpreter, needs: Sequence[str], pins: Sequence[str]) -> Sequence[str]:
        self.pins = list(pins)
        if self.error:
            raise self.error
        return FOUND

    async def install(self, solution: Sequence[str]) -> None:
        self.installed += solution


async def runs() -> None:
    pass


async def does_not_run() -> None:
    raise PreparationError("EnvironmentBuildFailed", "the scorer does not run beside these packages: no protobuf")


async def test_what_is_there_stays() -> None:
    uv = Uv()
    solution = ("NumPy==2.0", "scorer @ file:///scorer.whl")
    added = await add(["grpcio", "protobuf", "numpy"], solution, uv, HERE, runs)
    assert added == Added(works=True, packages=("grpcio==1.80", "protobuf==6.31"))
    assert (uv.installed, uv.pins) == (["grpcio==1.80", "protobuf==6.31"], ["NumPy==2.0"])


async def test_a_contradiction_costs_grpc_and_nothing_else() -> None:
    uv = Uv(UvError(Obstacle.CONFLICT, "the packages contradict each other"))
    added = await add(["protobuf>=4.25"], ("protobuf==3.20.1",), uv, HERE, runs)
    assert (added.works, added.packages, uv.installed) == (False, (), [])
    (told,) = added.differences
    assert told.text == "gRPC is not answered, HTTP alone: the packages contradict each other"
    assert told.equivalent  # a strict environment is one still


async def test_what_fits_and_does_not_run() -> None:
    added = await add(["grpcio"], (), Uv(), HERE, does_not_run)
    assert (added.works, added.packages) == (False, FOUND)
    assert added.differences[0].text.endswith("no protobuf")


async def test_a_network_that_is_away_is_no_answer() -> None:
    """Else the environment, which is kept, would go without gRPC for good."""
    with pytest.raises(UvError):
        await add(["grpcio"], (), Uv(UvError(Obstacle.NETWORK, "the package index cannot be reached")), HERE, runs)


async def test_a_scorer_without_grpc_gets_nothing() -> None:
    assert await add((), (), Uv(), HERE, does_not_run) == Added()


def test_the_scorer_says_what_it_needs() -> None:
    needs = ScorerSource.installed().needs_of(EXTRA)
    assert [need.partition(">")[0] for need in needs] == ["grpcio", "numpy", "protobuf"]
    assert not any("extra" in need for need in needs)
