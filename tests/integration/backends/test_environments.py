"""Environments built by the real uv. What is fetched is small; what is refused is refused by the real index."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.backends.environments import conda, hosted, requirements
from controlplane.backends.environments.wanted import WantedEnvironment
from controlplane.backends.process.environments import Environment, EnvironmentCache
from controlplane.backends.process.scorer_wheel import ScorerSource, wheel_of
from controlplane.backends.process.uv import Uv
from controlplane.domain.ports import PreparationError
from penstock.daemon import lock, processes

pytestmark = pytest.mark.integration


@pytest.fixture
def scorer(tmp_path: Path) -> ScorerSource:
    """A scorer that needs nothing, so that the index is asked for what the test is about."""
    package = tmp_path / "source/penstock_scorer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("")
    metadata = "Metadata-Version: 2.1\nName: penstock-scorer\nVersion: 0.1\n"
    return ScorerSource(package=package, metadata=metadata, version="0.1")


@pytest.fixture
def cache(tmp_path: Path, scorer: ScorerSource) -> EnvironmentCache:
    return EnvironmentCache(tmp_path / "environments", scorer, Uv.find(os.environ), os.environ)


async def build(cache: EnvironmentCache, wanted: WantedEnvironment, said: list[str] | None = None) -> Environment:
    fitted = hosted.fit(wanted, frozenset())
    key = await cache.key(fitted.environment, fitted.scorer_extras)
    return await cache.ensure(key, fitted.environment, fitted.scorer_extras, (said if said is not None else []).append)


def packages(environment: Environment) -> dict[str, str]:
    lines = (environment.folder / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


async def imports(environment: Environment, code: str) -> str:
    process = await asyncio.create_subprocess_exec(environment.python, "-I", "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def test_pins_are_had_exactly_and_built_once(cache: EnvironmentCache) -> None:
    said: list[str] = []
    environment = await build(cache, requirements.read("six==1.16.0\n"), said)
    assert environment.differences == ()
    assert packages(environment) == {"six": "1.16.0"}
    assert await imports(environment, "import six, penstock_scorer; print(six.__version__)") == "1.16.0"
    assert any("resolving 1 package" in line for line in said)
    said.clear()
    assert await build(cache, requirements.read("six==1.16.0\n"), said) == environment
    assert said == []


async def test_two_who_ask_at_once_share_one_build(cache: EnvironmentCache) -> None:
    said: list[str] = []
    wanted = requirements.read("six==1.15.0\n")
    first, second = await asyncio.gather(build(cache, wanted, said), build(cache, wanted, said))
    assert first == second
    assert sum("installing" in line for line in said) == 1
    assert sum("waiting for the same environment" in line for line in said) == 1


async def test_what_cannot_be_had_is_named(cache: EnvironmentCache) -> None:
    wanted = conda.read("dependencies: [python=3.8, {pip: [azureml-defaults, six==9.9.9]}]")
    environment = await build(cache, wanted)
    told = [each.text for each in environment.differences]
    assert told[0].startswith("azureml-defaults is not installed")
    assert told[1].startswith("python 3.8 -> 3.1")
    assert told[2].startswith("six 9.9.9 -> 1.")
    assert told[2].endswith(": there is no such version")
    assert "inference-schema" in packages(environment)


async def test_the_users_pins_win_over_the_scorers_needs(tmp_path: Path, scorer: ScorerSource) -> None:
    needy = replace(scorer, metadata=scorer.metadata + "Requires-Dist: six>=1.17\n")
    cache = EnvironmentCache(tmp_path / "environments", needy, Uv.find(os.environ), os.environ)
    environment = await build(cache, requirements.read("six==1.16.0\n"))
    assert (packages(environment), environment.differences) == ({"six": "1.16.0"}, ())


async def test_a_pin_that_the_scorer_names_too_is_relaxed_like_any_other(tmp_path: Path, scorer: ScorerSource) -> None:
    needy = replace(scorer, metadata=scorer.metadata + "Requires-Dist: six>=1.10\n")
    cache = EnvironmentCache(tmp_path / "environments", needy, Uv.find(os.environ), os.environ)
    environment = await build(cache, conda.read("dependencies: [six=1.15.9]"))
    assert packages(environment) == {"six": "1.16.0"}
    assert [each.text for each in environment.differences] == ["six 1.15.9 -> 1.16.0: there is no such version"]


async def test_a_scorer_that_does_not_run_there_is_found_out_now(tmp_path: Path, scorer: ScorerSource) -> None:
    (scorer.package / "__main__.py").write_text("import no_such_module")
    cache = EnvironmentCache(tmp_path / "environments", scorer, Uv.find(os.environ), os.environ)
    with pytest.raises(PreparationError, match="does not run beside these packages: ModuleNotFoundError") as caught:
        await build(cache, WantedEnvironment())
    assert "Traceback" in caught.value.detail


async def test_a_package_that_does_not_exist(cache: EnvironmentCache) -> None:
    with pytest.raises(PreparationError, match="there is no package 'penstock-no-such-package'") as caught:
        await build(cache, requirements.read("penstock-no-such-package"))
    assert (caught.value.reason, caught.value.transient) == ("EnvironmentBuildFailed", False)
    assert "unsatisfiable" in caught.value.detail


async def test_without_a_network_it_says_so_and_may_be_tried_again(tmp_path: Path, scorer: ScorerSource) -> None:
    environ = {**os.environ, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    environ["UV_CACHE_DIR"] = str(tmp_path / "cache")
    cache = EnvironmentCache(tmp_path / "environments", scorer, Uv.find(environ), environ)
    with pytest.raises(PreparationError, match="the package index cannot be reached") as caught:
        await build(cache, requirements.read("six"))
    assert caught.value.transient


async def test_a_cancelled_build_leaves_nothing_running_and_can_be_repeated(
    cache: EnvironmentCache, tmp_path: Path
) -> None:
    started = asyncio.Event()
    wanted = requirements.read("six==1.14.0\n")
    key = await cache.key(wanted, ())
    building = asyncio.create_task(cache.ensure(key, wanted, (), lambda _: started.set()))
    await started.wait()
    await asyncio.sleep(0.01)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert cache.find(key) is None
    assert not lock.is_held(tmp_path / f"environments/{key}.lock")
    assert (await build(cache, wanted)).folder.name == key


BUILDER = """
import asyncio, os, sys
from pathlib import Path
from controlplane.backends.environments import requirements
from controlplane.backends.process.environments import EnvironmentCache
from controlplane.backends.process.scorer_wheel import ScorerSource
from controlplane.backends.process.uv import Uv
source = ScorerSource(package=Path(sys.argv[2]), metadata=sys.argv[3], version="0.1")
cache = EnvironmentCache(Path(sys.argv[1]), source, Uv.find(os.environ), os.environ)
wanted = requirements.read("six==1.13.0")
async def main():
    key = await cache.key(wanted, ())
    print(key, flush=True)
    await cache.ensure(key, wanted, (), lambda _: None)
asyncio.run(main())
"""


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
async def test_a_builder_killed_at_any_point(
    cache: EnvironmentCache, scorer: ScorerSource, tmp_path: Path, seconds: float
) -> None:
    arguments: list[str | Path] = [
        sys.executable,
        "-c",
        BUILDER,
        tmp_path / "environments",
        scorer.package,
        scorer.metadata,
    ]
    builder = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert builder.stdout is not None
    key = (await builder.stdout.readline()).decode().strip()
    await asyncio.sleep(seconds)
    builder.kill()
    await builder.wait()
    environment = await build(cache, requirements.read("six==1.13.0"))
    assert environment.folder.name == key
    assert await imports(environment, "import six; print(six.__version__)") == "1.13.0"
    place = str(tmp_path / f"environments/{key}.lock")
    assert [p.pid for p in processes.everyone() if processes.holds_open(p.pid, Path(place))] == []


def test_the_wheel_of_the_installed_scorer_is_made_once(tmp_path: Path) -> None:
    source = ScorerSource.installed()
    path, digest = wheel_of(source, tmp_path)
    before = path.stat().st_mtime_ns
    assert wheel_of(source, tmp_path) == (path, digest)
    assert path.stat().st_mtime_ns == before
    assert any(requirement.startswith("granian") for requirement in source.requirements)


def test_another_content_is_another_wheel(tmp_path: Path, scorer: ScorerSource) -> None:
    first = wheel_of(scorer, tmp_path)
    (scorer.package / "more.py").write_text("x = 1")
    second = wheel_of(scorer, tmp_path)
    assert first[1] != second[1]
    assert json.dumps(sorted(scorer.files())).count("more.py") == 1
