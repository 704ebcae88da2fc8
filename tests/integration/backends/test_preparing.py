"""Preparing and starting with the process backend, where it goes wrong or differs from what was asked for."""

import asyncio
import errno
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.backends.process import instance_files, probes
from controlplane.backends.process.backend import ProcessBackend
from controlplane.domain.instances import InstanceState
from controlplane.domain.ports import LogKind, PreparationError
from controlplane.domain.specs import EnvironmentSpec, ProbeSettings
from penstock.daemon import processes
from tests.contract.harness import FolderAssets, ProcessHarness, policy, score, template, until

pytestmark = pytest.mark.integration
ID = "abcdefghij01"


@pytest.fixture(scope="module")
def environments() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pse-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def harness(environments: Path) -> Iterator[ProcessHarness]:
    home = Path(tempfile.mkdtemp(prefix="psp-"))
    (home / "environments").symlink_to(environments)
    yield ProcessHarness(home, FolderAssets(home / "blobs"))
    shutil.rmtree(home)


@pytest.fixture
async def backend(harness: ProcessHarness) -> AsyncIterator[ProcessBackend]:
    backend = harness.make()
    yield backend
    for instance in await backend.observe():
        await backend.stop(instance, 0)
    await backend.close()
    assert harness.left() == []


def pip(text: str, **more: str) -> EnvironmentSpec:
    return EnvironmentSpec(pip_requirements=text, **more)  # type: ignore[arg-type]


async def refusal(backend: ProcessBackend, *arguments: object, **changes: object) -> PreparationError:
    with pytest.raises(PreparationError) as caught:
        await backend.prepare(template(*arguments, **changes), lambda _: None)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return caught.value


async def test_an_image_with_packages_runs_the_packages_and_says_so(
    backend: ProcessBackend, harness: ProcessHarness
) -> None:
    made = template(harness, environment=pip("six==1.16.0", image="mcr.example.org/base:1"))
    backend.check(made)
    found = await backend.prepare(made, lambda _: None)
    assert found.differences == (
        "the image mcr.example.org/base:1 is not used: instances are processes, with the packages alone",
    )


async def test_strict_refuses_what_would_differ_and_names_it(backend: ProcessBackend, harness: ProcessHarness) -> None:
    error = await refusal(backend, harness, environment=pip("six==9.9.9"), strict_environment=True)
    assert error.reason == "EnvironmentDiffers"
    assert "six 9.9.9 -> 1." in str(error)
    # What serves the same purpose is no difference that matters.
    made = template(harness, environment=pip("azureml-defaults\nsix==1.16.0"), strict_environment=True)
    assert len((await backend.prepare(made, lambda _: None)).differences) == 1


async def test_a_broken_environment_file(backend: ProcessBackend, harness: ProcessHarness) -> None:
    error = await refusal(backend, harness, environment=EnvironmentSpec(conda_file="dependencies: [a\nb: c"))
    assert error.reason == "EnvironmentInvalid"
    assert "line 2" in str(error)


async def test_files_that_are_gone(backend: ProcessBackend, harness: ProcessHarness) -> None:
    made = template(harness)
    shutil.rmtree(harness.home / "blobs")
    with pytest.raises(PreparationError, match="the deployment's code is not there"):
        await backend.prepare(made, lambda _: None)


async def test_an_environment_removed_behind_our_back_is_built_again(
    backend: ProcessBackend, harness: ProcessHarness
) -> None:
    made = template(harness, environment=pip("six==1.12.0"))
    found = await backend.prepare(made, lambda _: None)
    shutil.rmtree(harness.home / "environments" / found.token)
    with pytest.raises(PreparationError, match="removed") as caught:
        await backend.start(ID, made, found, policy())
    assert caught.value.transient
    assert await backend.prepare(made, lambda _: None) == found
    await backend.start(ID, made, found, policy())
    await until(backend, ID, InstanceState.READY)


async def test_the_log_of_a_preparation(backend: ProcessBackend, harness: ProcessHarness) -> None:
    made = template(harness, environment=pip("six==1.11.0"))
    await backend.prepare(made, lambda _: None)
    kind = LogKind.STORAGE_INITIALIZER
    lines = [line async for found in backend.logs((), made.hash, kind, 100, follow=False) for line in found.lines]
    assert "building the environment: resolving 1 package for Python 3.11" in lines
    assert any("six==1.11.0" in line for line in lines), "what uv said is missing"


async def test_a_full_disk_at_the_start(
    backend: ProcessBackend, harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = template(harness)
    found = await backend.prepare(made, lambda _: None)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(instance_files, "copy_writable", full)
        with pytest.raises(PreparationError, match="the disk is full: starting the instance failed") as caught:
            await backend.start(ID, made, found, policy())
    assert (caught.value.reason, caught.value.transient) == ("DiskFull", True)
    assert harness.left() == []
    await backend.start(ID, made, found, policy())
    await until(backend, ID, InstanceState.READY)


async def test_a_folder_without_a_manifest_is_shown_and_can_be_removed(
    backend: ProcessBackend, harness: ProcessHarness
) -> None:
    made = template(harness)
    await backend.start(ID, made, await backend.prepare(made, lambda _: None), policy())
    seen = await until(backend, ID, InstanceState.READY)
    await backend.close()
    (harness.home / "instances" / ID / "instance.json").write_text("{")
    successor = harness.make()
    assert (await successor.observe())[ID].template_hash == ""
    await successor.stop(ID, 5)
    assert processes.stat_of(seen.pid) is None
    assert harness.left() == []
    await successor.close()


async def test_want_of_descriptors_is_not_held_against_an_instance(
    backend: ProcessBackend, harness: ProcessHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = template(harness)
    await backend.start(ID, made, await backend.prepare(made, lambda _: None), policy())
    await until(backend, ID, InstanceState.READY)

    tried = asyncio.Event()

    async def exhausted(*args: object, **named: object) -> None:
        tried.set()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "open_unix_connection", exhausted)
        with pytest.raises(OSError, match="Too many open files"):
            await probes.answers(probes.unix("/nowhere"), 1)
        tried.clear()
        await asyncio.wait_for(tried.wait(), 10)
        assert (await backend.observe())[ID].state is InstanceState.READY
    seen = (await backend.observe())[ID]
    assert (await score(seen, 1))[0] == 200


async def test_an_instance_that_hangs_is_taken_out_and_comes_back(
    backend: ProcessBackend, harness: ProcessHarness
) -> None:
    probe = ProbeSettings(initial_delay_seconds=0, period_seconds=0.1, timeout_seconds=0.2, failure_threshold=2)
    made = template(harness, readiness_probe=probe)
    await backend.start(ID, made, await backend.prepare(made, lambda _: None), policy())
    seen = await until(backend, ID, InstanceState.READY)
    members = [each.pid for each in processes.everyone() if each.session == seen.pid]
    for pid in members:
        os.kill(pid, signal.SIGSTOP)
    hung = await until(backend, ID, InstanceState.UNREADY, seconds=10)
    assert (hung.pid, hung.ready_since) == (seen.pid, None)
    for pid in members:
        os.kill(pid, signal.SIGCONT)
    back = await until(backend, ID, InstanceState.READY, seconds=10)
    assert back.ready_since != seen.ready_since


async def test_a_raw_http_script_has_what_it_needs(backend: ProcessBackend, harness: ProcessHarness) -> None:
    script = """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse
def init(): pass
@rawhttp
def run(request):
    return AMLResponse("teapot", 418, json_str=True)
"""
    made = template(harness, script)
    await backend.start(ID, made, await backend.prepare(made, lambda _: None), policy())
    assert (await score(await until(backend, ID, InstanceState.READY), 1))[0] == 418


async def test_a_home_too_deep_for_sockets(harness: ProcessHarness) -> None:
    deep = ProcessHarness(harness.home / ("d" * 60) / ("e" * 60), harness.assets)
    (deep.home).mkdir(parents=True)
    (deep.home / "environments").symlink_to(harness.home / "environments")
    backend, made = deep.make(), template(deep)
    await backend.start(ID, made, await backend.prepare(made, lambda _: None), policy())
    seen = await until(backend, ID, InstanceState.READY)
    assert len(seen.address) < 100
    assert (await score(seen, 1))[0] == 200
    await backend.stop(ID, 5)
    await backend.close()
    Path(seen.address.removeprefix("unix://")).parent.unlink()
