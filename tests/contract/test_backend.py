"""What every backend promises, whatever its instances are made of."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from controlplane.domain.errors import UnsupportedError
from controlplane.domain.instances import InstanceState, InstanceTemplate
from controlplane.domain.ports import Backend, LogKind, LogLines, PreparationError
from controlplane.domain.specs import EnvironmentSpec, ProbeSettings, RequestSettings
from tests.contract.harness import KEY, Harness, eventually, policy, score, template, until, with_model

pytestmark = pytest.mark.integration
ID = "abcdefghij01"
READY, FAILED = InstanceState.READY, InstanceState.FAILED


async def launch(backend: Backend, made: InstanceTemplate, instance: str = ID) -> None:
    await backend.start(instance, made, await backend.prepare(made, lambda _: None), policy())


async def test_from_a_template_to_an_answer(backend: Backend, harness: Harness) -> None:
    made = template(harness)
    said: list[str] = []
    preparation = await backend.prepare(made, said.append)
    assert preparation.differences == ()
    await backend.start(ID, made, preparation, policy())
    seen = await until(backend, ID, READY)
    assert (seen.template_hash, bool(seen.ready_since), seen.failure) == (made.hash, True, None)
    status, body = await score(seen, {"x": 1})
    assert status == 200
    assert isinstance(body, dict)
    assert body["echo"] == '{"x": 1}'


async def test_preparing_again_is_silent(backend: Backend, harness: Harness) -> None:
    made = template(harness)
    first = await backend.prepare(made, lambda _: None)
    said: list[str] = []
    assert await backend.prepare(made, said.append) == first
    assert said == []


async def test_starting_again_starts_nothing(backend: Backend, harness: Harness) -> None:
    made = template(harness)
    await launch(backend, made)
    first = await until(backend, ID, READY)
    await launch(backend, made)
    seen = (await backend.observe())[ID]
    assert (seen.pid, seen.state) == (first.pid, READY)


async def test_a_wrong_key_is_refused_and_a_revoked_one_stops_working(backend: Backend, harness: Harness) -> None:
    await launch(backend, template(harness))
    seen = await until(backend, ID, READY)
    assert (await score(seen, 1, key="wrong"))[0] == 401
    assert (await score(seen, 1, key=KEY))[0] == 200
    await backend.apply_policy(policy("the-new-key"))
    await backend.apply_policy(policy("another", endpoint="other"))
    async with asyncio.timeout(2):
        while (await score(seen, 1, key=KEY))[0] != 401:  # nothing tells us but the answer
            await asyncio.sleep(0.02)
    assert (await score(seen, 1, key="the-new-key"))[0] == 200


async def test_a_policy_that_changed_before_the_start_wins(backend: Backend, harness: Harness) -> None:
    await backend.apply_policy(policy("the-new-key"))
    await launch(backend, template(harness))
    seen = await until(backend, ID, READY)
    assert (await score(seen, 1, key=KEY))[0] == 401


async def test_stop_lets_a_request_finish(backend: Backend, harness: Harness) -> None:
    slow = "import time\ndef init(): pass\ndef run(data):\n    time.sleep(0.5)\n    return 'done'\n"
    await launch(backend, template(harness, slow))
    seen = await until(backend, ID, READY)
    asked = asyncio.create_task(score(seen, 1))
    await asyncio.sleep(0.2)
    stopping = asyncio.create_task(backend.stop(ID, 20))
    await eventually(backend, ID, lambda seen: seen.state is InstanceState.DRAINING)
    assert await asked == (200, "done")
    await stopping
    assert ID not in await backend.observe()
    assert harness.left() == []


async def test_stop_of_the_unknown_is_nothing(backend: Backend) -> None:
    await backend.stop("nobodyknows1", 1)


async def test_stop_is_not_held_up_by_a_deaf_script(backend: Backend, harness: Harness) -> None:
    deaf = "import time\ndef init(): pass\ndef run(data):\n    time.sleep(600)\n"
    await launch(backend, template(harness, deaf, request_settings=RequestSettings(request_timeout_ms=180_000)))
    seen = await until(backend, ID, READY)
    asked = asyncio.create_task(score(seen, 1))
    await asyncio.sleep(0.2)
    async with asyncio.timeout(10):
        await backend.stop(ID, 0.3)
    assert harness.left() == []
    with contextlib.suppress(OSError, IndexError):
        await asked


async def test_a_failing_init_tells_the_users_traceback(backend: Backend, harness: Harness) -> None:
    await launch(
        backend,
        template(harness, "def init():\n    raise ValueError('no such column: rooms')\n\ndef run(data): pass\n"),
    )
    seen = await until(backend, ID, FAILED)
    assert seen.failure is not None
    assert "no such column: rooms" in seen.failure.message + seen.failure.detail
    assert "line 2, in init" in seen.failure.detail
    assert seen.ended is not None
    assert seen.ready_since is None


async def test_a_crash_names_the_signal(backend: Backend, harness: Harness) -> None:
    await launch(backend, template(harness))
    harness.kill(await until(backend, ID, READY))
    seen = await until(backend, ID, FAILED, seconds=5)
    assert seen.failure is not None
    assert "SIGKILL" in seen.failure.message
    assert "init is done" in seen.failure.detail


async def test_liveness_that_fails_ends_the_instance(backend: Backend, harness: Harness) -> None:
    # `init` never returns, so nothing ever answers.
    made = template(
        harness,
        "import time\ndef init(): time.sleep(600)\ndef run(data): pass\n",
        liveness_probe=ProbeSettings(initial_delay_seconds=0, period_seconds=0.1, failure_threshold=5),
    )
    await launch(backend, made)
    seen = await until(backend, ID, FAILED)
    assert seen.failure is not None
    assert (seen.failure.reason, "5 times" in seen.failure.message) == ("LivenessProbeFailed", True)


async def test_model_and_code_lie_where_scripts_look(backend: Backend, harness: Harness) -> None:
    script = """
import os
def init():
    global found
    root = os.environ["AZUREML_MODEL_DIR"]
    found = sorted(os.path.relpath(os.path.join(at, f), root) for at, _, files in os.walk(root) for f in files)
def run(data):
    with open("scratch.txt", "w") as f:
        f.write("the working directory is ours")
    return {"found": found, "root": os.environ["AZUREML_MODEL_DIR"].split("/")[-3:], "cwd": sorted(os.listdir("."))}
"""
    folder = with_model(harness, "model", {"a.pkl": "A", "deep/b.txt": "B"})
    await launch(backend, template(harness, script, model=folder))
    _, body = await score(await until(backend, ID, READY), 1)
    assert isinstance(body, dict)
    assert body["found"] == ["model/a.pkl", "model/deep/b.txt"]
    assert body["root"] == ["azureml-models", "prices", "3"]
    assert {"score.py", "scratch.txt"} <= set(body["cwd"])

    single = with_model(harness, "m.pkl", "A")
    await launch(backend, template(harness, script, model=single), "abcdefghij02")
    _, body = await score(await until(backend, "abcdefghij02", READY), 1)
    assert isinstance(body, dict)
    assert body["found"] == ["m.pkl"]


async def test_the_environment_holds_what_it_was_given_and_no_secret(
    backend: Backend, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_ADMIN_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    script = "import os\ndef init(): pass\ndef run(data): return dict(os.environ)\n"
    await launch(backend, template(harness, script, environment_variables={"GREETING": "hello"}))
    _, env = await score(await until(backend, ID, READY), 1)
    assert isinstance(env, dict)
    assert env["GREETING"] == "hello"
    assert "secret" not in env.values()


async def test_a_script_that_is_not_there(backend: Backend, harness: Harness) -> None:
    with pytest.raises(PreparationError, match=r"has no 'scoer.py'; did you mean 'score.py'\?") as caught:
        await backend.prepare(template(harness, scoring_script="scoer.py"), lambda _: None)
    assert (caught.value.reason, caught.value.transient) == ("ScriptNotFound", False)


async def test_what_cannot_be_honoured_is_refused_by_name(backend: Backend, harness: Harness) -> None:
    made = replace(
        template(harness, environment=EnvironmentSpec(image="mcr/x:1")),
        model_mount_path="/models",
        environment_variables={"PENSTOCK_AUTH_POLICY": "/dev/null"},
    )
    with pytest.raises(UnsupportedError) as caught:
        backend.check(made)
    assert {violation.field for violation in caught.value.violations} == {
        "environment.image",
        "model_mount_path",
        "environment_variables.PENSTOCK_AUTH_POLICY",
    }


async def test_a_successor_adopts_what_runs(backend: Backend, harness: Harness) -> None:
    made = template(harness)
    await launch(backend, made)
    first = await until(backend, ID, READY)
    await backend.close()
    assert (await score(first, 1))[0] == 200, "closing stopped what serves"

    successor = harness.make()
    seen = (await successor.observe())[ID]
    # Ready from its first word on: an instance that serves must not leave the gateway for a moment.
    assert (seen.state, seen.pid, seen.template_hash) == (READY, first.pid, made.hash)
    await launch(successor, made)
    assert (await successor.observe())[ID].pid == first.pid
    harness.kill(seen)
    failed = await until(successor, ID, FAILED, seconds=5)
    assert failed.failure is not None
    assert "SIGKILL" in failed.failure.message
    await successor.close()

    third = harness.make()
    assert (await third.observe())[ID].failure == failed.failure, "why it ended is remembered"
    await third.stop(ID, 0)
    assert await third.observe() == {}
    assert harness.left() == []
    await third.close()


async def test_logs_by_instance_and_following(backend: Backend, harness: Harness) -> None:
    await launch(backend, template(harness))
    seen = await until(backend, ID, READY)
    await score(seen, "one")

    async def collect(*, follow: bool) -> LogLines:
        async for lines in backend.logs((ID,), seen.template_hash, LogKind.INFERENCE_SERVER, 1000, follow=follow):
            if any("got" in line for line in lines.lines) and (not follow or '"two"' in "".join(lines.lines)):
                return lines
        raise AssertionError("the log ended without it")

    found = await collect(follow=False)
    assert found.instance == ID
    assert sum("init is done" in line for line in found.lines) == 1
    following = asyncio.create_task(collect(follow=True))
    await asyncio.sleep(0.3)
    await score(seen, "two")
    assert any('"two"' in line for line in (await asyncio.wait_for(following, 10)).lines)


async def test_two_instances_of_one_template(backend: Backend, harness: Harness) -> None:
    made = template(harness)
    ids = ("abcdefghij01", "abcdefghij02")
    await asyncio.gather(*(launch(backend, made, each) for each in ids))
    answers = [await score(await until(backend, each, READY), 1) for each in ids]
    assert len({body["pid"] for _, body in answers if isinstance(body, dict)}) == 2
    harness.kill((await backend.observe())[ids[0]])
    await until(backend, ids[0], FAILED)
    assert (await backend.observe())[ids[1]].state is READY
