"""Real processes: what is started once stays once, whoever dies, and what is ended leaves nothing behind."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.daemon import AlreadyRunningError, Daemon, DaemonState, lock, processes, record

pytestmark = pytest.mark.integration
ENV = {"PATH": os.environ["PATH"]}
SLEEP = ["sleep", "1000"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "d")
    yield daemon
    daemon.kill()


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code)]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def known(daemon: Daemon) -> record.DaemonRecord:
    found = record.load(daemon.folder / "daemon.json")
    assert found is not None
    return found


def relatives(daemon: Daemon) -> list[int]:
    token = known(daemon).token
    return [process.pid for process in processes.everyone() if processes.carries(process.pid, token)]


def said(daemon: Daemon, word: str) -> Callable[[], bool]:
    return lambda: word in (daemon.folder / "log").read_text()


def test_absent_running_ended(daemon: Daemon) -> None:
    assert daemon.status().state is DaemonState.ABSENT
    daemon.folder.mkdir()
    os.mkfifo(daemon.folder / "fifo")
    pid = daemon.launch(["sh", "-c", "echo out; echo err >&2; read x < fifo; exit 7"], env=ENV, cwd=daemon.folder)
    assert daemon.status().state is DaemonState.RUNNING
    assert not daemon.wait(0.01)
    (daemon.folder / "fifo").write_text("go\n")
    assert daemon.wait(10)
    status = daemon.status()
    assert (status.state, status.pid, status.exit_code) == (DaemonState.ENDED, pid, 7)
    assert (daemon.folder / "log").read_text() == "out\nerr\n"
    assert not Path(f"/proc/{pid}").exists(), "a zombie stayed"


def test_an_orphan_outlives_a_launcher_whose_end_it_asked_to_share(tmp_path: Path) -> None:
    """As Envoy does, by PR_SET_PDEATHSIG; as a child it would be gone."""
    daemon = Daemon(tmp_path / "d")
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import ctypes, os, time\n"
        "ctypes.CDLL(None).prctl(1, 15)\n"
        "print('begun', os.getsid(0) == os.getpid(), flush=True)\n"
        "time.sleep(1000)\n"
    )
    program.chmod(0o755)
    launcher = f"""
        import time
        from pathlib import Path
        from penstock.daemon import Daemon
        print(Daemon(Path({str(daemon.folder)!r})).launch([{str(program)!r}], env={ENV!r}, orphan=True), flush=True)
        time.sleep(1000)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(launcher)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        wait_for(said(daemon, "begun True"))
        process.kill()
    time.sleep(0.1)
    assert daemon.status().pid == pid
    assert daemon.status().state is DaemonState.RUNNING
    with pytest.raises(AlreadyRunningError):
        daemon.launch(SLEEP, env=ENV)
    daemon.kill()
    assert daemon.status().state is DaemonState.ENDED


def test_an_orphan_that_does_not_exist_is_told(daemon: Daemon) -> None:
    with pytest.raises(FileNotFoundError):
        daemon.launch(["/nonexistent/program"], env=ENV, orphan=True)
    assert daemon.status().state is DaemonState.ABSENT


def test_a_signal_is_told_apart_from_an_exit_code(daemon: Daemon) -> None:
    daemon.launch(SLEEP, env=ENV)
    daemon.signal(signal.SIGKILL)
    daemon.wait(10)
    assert daemon.status().exit_code == -signal.SIGKILL
    assert not daemon.signal(signal.SIGTERM)


def test_a_second_launch_is_refused_and_a_later_one_is_not(daemon: Daemon) -> None:
    first = daemon.launch(SLEEP, env=ENV)
    with pytest.raises(AlreadyRunningError, match=f"pid {first}"):
        Daemon(daemon.folder).launch(SLEEP, env=ENV)
    daemon.stop(10)
    assert daemon.launch(SLEEP, env=ENV) != first


def test_a_program_that_does_not_exist_leaves_nothing(daemon: Daemon) -> None:
    with pytest.raises(FileNotFoundError):
        daemon.launch(["/no/such/program"], env=ENV)
    assert daemon.status().state is DaemonState.ABSENT
    assert not lock.is_held(daemon.folder / "lock")


def test_stop_lets_it_finish_and_kills_what_it_leaves(daemon: Daemon) -> None:
    # The leader ends politely; one child ignores SIGTERM, another has left the session and closed every file too.
    daemon.launch(
        python("""
            import os, signal, sys, time
            for leave in (False, True):
                if os.fork() == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    if leave:
                        os.setsid()
                        os.closerange(0, 100)
                    time.sleep(1000)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            print("up", flush=True)
            time.sleep(1000)
        """),
        env=ENV,
    )
    wait_for(said(daemon, "up"))
    wait_for(lambda: len(relatives(daemon)) == 3)
    daemon.stop(10)
    assert relatives(daemon) == []
    assert daemon.status().exit_code == 0


def test_stop_does_not_wait_for_the_deaf(daemon: Daemon) -> None:
    daemon.launch(
        python("import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"),
        env=ENV,
    )
    wait_for(said(daemon, "up"))
    daemon.stop(0.05)
    assert daemon.status().exit_code == -signal.SIGKILL


def test_what_a_dead_leader_left_is_killed_before_the_next_launch(daemon: Daemon) -> None:
    daemon.launch(["sh", "-c", "sleep 1000 & exit 3"], env=ENV)
    daemon.wait(10)
    assert daemon.status().exit_code == 3
    (orphan,) = relatives(daemon)
    daemon.launch(SLEEP, env=ENV)
    assert orphan not in [process.pid for process in processes.everyone()]


def test_a_pid_that_was_given_away_again_is_not_ours(daemon: Daemon) -> None:
    daemon.launch(SLEEP, env=ENV)
    daemon.stop(10)
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        path = daemon.folder / "daemon.json"
        text = path.read_text().replace(f'"pid": {known(daemon).pid}', f'"pid": {stranger.pid}')
        path.write_text(text.replace('"swept": true', '"swept": false'))
        assert daemon.status().state is DaemonState.ENDED
        assert not daemon.signal(signal.SIGKILL)
        daemon.kill()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_nothing_of_an_earlier_boot_runs(daemon: Daemon) -> None:
    daemon.launch(SLEEP, env=ENV)
    path = daemon.folder / "daemon.json"
    mine = path.read_text()
    path.write_text(mine.replace(processes.boot_id(), "another-boot"))
    assert daemon.status().state is DaemonState.ENDED
    daemon.kill()
    path.write_text(mine)
    assert daemon.status().state is DaemonState.RUNNING


def test_a_record_cut_off_by_a_power_cut_is_no_record(daemon: Daemon) -> None:
    daemon.folder.mkdir()
    (daemon.folder / "daemon.json").write_text('{"argv": ["sl')
    assert daemon.status().state is DaemonState.ABSENT
    daemon.launch(SLEEP, env=ENV)
    assert daemon.status().state is DaemonState.RUNNING


async def test_waiting_without_blocking(daemon: Daemon) -> None:
    daemon.launch(SLEEP, env=ENV)
    waiting = asyncio.create_task(daemon.ended())
    await asyncio.sleep(0)
    assert not waiting.done()
    daemon.signal(signal.SIGTERM)
    await asyncio.wait_for(waiting, 10)
    assert daemon.status().exit_code == -signal.SIGTERM
    await daemon.ended()  # at once


async def test_a_wait_may_be_cancelled(daemon: Daemon) -> None:
    daemon.launch(SLEEP, env=ENV)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await daemon.ended()
    await daemon.stop_async(10)
    assert daemon.status().exit_code == -signal.SIGTERM


START = "import sys; from penstock.daemon import Daemon; from pathlib import Path; d = Daemon(Path(sys.argv[1]));"


async def test_adopting_what_another_started(daemon: Daemon) -> None:
    go = daemon.folder.parent / "go"
    waits = f"for i in $(seq 500); do [ -e {go} ] && exit 5; sleep 0.02; done"
    starter = f"{START} d.launch(['sh', '-c', {waits!r}], env={ENV!r})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", starter, daemon.folder)
    assert await process.wait() == 0
    assert daemon.status().state is DaemonState.RUNNING
    waiting = asyncio.create_task(daemon.ended())
    await asyncio.sleep(0)  # it holds the process now: how one ended that nobody held, only its parent can learn
    go.touch()
    await asyncio.wait_for(waiting, 10)
    assert daemon.status().exit_code == 5


def test_a_starter_killed_before_it_wrote_the_pid_down(daemon: Daemon) -> None:
    starter = f"""{START}
from penstock.daemon import record
import os, signal
save = record.save
record.save = lambda path, known: os.kill(os.getpid(), signal.SIGKILL) if known.pid else save(path, known)
d.launch(['sleep', '1000'], env={ENV!r})"""
    killed = subprocess.run([sys.executable, "-c", starter, daemon.folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert known(daemon).pid == 0
    status = daemon.status()
    assert status.state is DaemonState.RUNNING
    assert Path(f"/proc/{status.pid}/cmdline").read_bytes().startswith(b"sleep\0")
    with pytest.raises(AlreadyRunningError):
        daemon.launch(SLEEP, env=ENV)


def test_starters_killed_at_random_never_start_two(daemon: Daemon) -> None:
    chance = random.Random(7)
    outcomes = set()
    starter = f"{START} print('ready', flush=True); d.launch(['sleep', '1000'], env={ENV!r})"
    for _ in range(25):
        process = subprocess.Popen([sys.executable, "-c", starter, daemon.folder], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.006))
        process.kill()
        process.communicate()
        # The successor does what a control plane does: look, and start what does not run.
        state = daemon.status().state
        outcomes.add(state)
        if state is DaemonState.ABSENT:
            daemon.launch(SLEEP, env=ENV)
        assert len(holders(daemon)) == 1
        daemon.kill()
        assert holders(daemon) == []
        (daemon.folder / "daemon.json").unlink()
    assert outcomes == {DaemonState.ABSENT, DaemonState.RUNNING}, "the kills did not hit both sides"


def holders(daemon: Daemon) -> list[int]:
    return [p.pid for p in processes.everyone() if processes.holds_open(p.pid, daemon.folder / "lock")]
