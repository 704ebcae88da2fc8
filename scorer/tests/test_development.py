"""Trying a script in place, and serving it anew when it changes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from penstock_scorer import development
from penstock_scorer.development.reload import changed, snapshot

from scorer.tests.test_life_of_requests import eventually

GOOD = """
import os, json
def init():
    global where
    where = os.environ["AZUREML_MODEL_DIR"]
def run(data):
    return {"where": os.path.basename(where), "n": json.loads(data)["n"]}
"""


def test_a_good_script(write: Any, tmp_path: Any) -> None:
    (tmp_path / "model").mkdir()
    before = os.environ.get("AZUREML_MODEL_DIR")
    report = development.test_script(write(GOOD), model_dir=tmp_path / "model", request=b'{"n": 1}', repeat=3)
    assert report.ok
    assert [json.loads(answer.body) for answer in report.answers] == [{"where": "model", "n": 1}] * 3
    text = report.text()
    assert text.startswith("OK ")
    assert "init() " in text
    assert "run 3 " in text
    assert "status 200" in text
    assert '"where": "model"' in text
    assert report.import_seconds > 0
    assert os.environ.get("AZUREML_MODEL_DIR") == before


def test_a_run_that_fails_shows_the_users_own_traceback(write: Any) -> None:
    report = development.test_script(write("def init(): pass\ndef run(data):\n    return 1 / 0"))
    assert not report.ok
    text = report.text()
    assert text.startswith("FAILED ")
    assert "ZeroDivisionError: division by zero" in text
    assert "return 1 / 0" in text
    assert "penstock_scorer/" not in text
    assert "status 500" in text


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("def init(): open('/no/such/file')\ndef run(data): pass", "FileNotFoundError: [Errno 2]"),
        ("def init(:", "SyntaxError"),
        ("def init(): pass", "does not define run()"),
    ],
)
def test_a_script_that_cannot_be_loaded(write: Any, script: Any, expected: Any) -> None:
    report = development.test_script(write(script))
    assert not report.ok
    assert report.failure is not None
    assert expected in report.text()
    assert "penstock_scorer/" not in report.text()


def test_a_missing_script(tmp_path: Any) -> None:
    assert "does not exist" in development.test_script(tmp_path / "no.py").text()


def test_bad_input_and_what_cannot_be_sent_are_said(write: Any) -> None:
    path = write("def init(): pass\ndef run(data): return {1, 2}")
    report = development.test_script(path)
    assert "run() returned what JSON cannot hold" in report.text()
    assert development.test_script(path, request=b"\xff").answers[0].status == 400


@pytest.mark.parametrize(
    "script",
    [
        "def init(): pass\ndef run(data):\n    yield 'a'\n    yield 'b'",
        "async def init(): pass\nasync def run(data):\n    yield 'a'\n    yield 'b'",
    ],
)
def test_a_stream(write: Any, script: Any) -> None:
    assert development.test_script(write(script), repeat=2).answers[1].body == b"ab"


def test_a_batched_script(write: Any) -> None:
    report = development.test_script(
        write(
            "from penstock_scorer import batched\ndef init(): pass\n"
            "@batched(max_size=4)\ndef run(inputs): return [len(inputs) for i in inputs]"
        )
    )
    assert (report.answers[0].body, "batched, up to 4" in report.text()) == (b"1", True)


def test_what_counts_as_a_change(tmp_path: Any) -> None:
    for name in ("a.py", "b.json", "c.bin", ".d/e.py", "__pycache__/f.py", "g/h.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    before = snapshot((tmp_path,))
    assert {str(Path(path).relative_to(tmp_path)) for path in before} == {"a.py", "b.json", "g/h.yml"}
    (tmp_path / "a.py").write_text("22")
    (tmp_path / "b.json").unlink()
    (tmp_path / "new.py").write_text("1")
    assert [Path(path).name for path in changed(before, snapshot((tmp_path,)))] == ["a.py", "b.json", "new.py"]
    assert snapshot((tmp_path / "nowhere",)) == {}


@pytest.mark.integration
def test_reload_serves_what_is_in_the_file_and_survives_a_broken_one(serve: Any, tmp_path: Any) -> None:
    script = tmp_path / "score.py"
    server = serve("def init(): pass\ndef run(data): return 1", "--reload")

    def answers(expected: bytes) -> bool:
        try:
            return server.score().body == expected
        except OSError:
            return False

    assert answers(b"1")
    script.write_text("def init(): pass\ndef run(data): return 22")
    assert eventually(lambda: answers(b"22"))
    script.write_text("def init(): pass\ndef run(data) return 3")
    assert eventually(lambda: "SyntaxError" in server.err.read_text())
    assert eventually(lambda: "starts again when a file changes" in server.err.read_text())
    script.write_text("def init(): pass\ndef run(data): return 4444")
    assert eventually(lambda: answers(b"4444"))
    assert server.stop() == 0


@pytest.mark.integration
def test_kill_9_of_the_reloader_leaves_nothing(serve: Any) -> None:
    server = serve("def init(): pass\ndef run(data): return 1", "--reload")
    (child,) = server.workers()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    assert eventually(lambda: not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text())


@pytest.mark.integration
def test_reload_with_wrong_settings_says_so_and_ends() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "penstock_scorer", "--reload", "--port", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "No entry script" in ran.stderr
