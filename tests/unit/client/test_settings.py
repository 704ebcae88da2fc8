"""Where a client connects to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.errors import PlatformError
from penstock.settings import Connection, PlatformFile, Settings, connection


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "platform.json").write_text(
        json.dumps({"api": "127.0.0.1:7", "gateway": "http://localhost:8", "pid": 9})
    )
    (tmp_path / "admin_token").write_text("from-the-home\n")
    return tmp_path


def test_the_running_platform_is_found(home: Path) -> None:
    assert connection(settings=Settings(home)) == Connection("127.0.0.1:7", "from-the-home")
    assert PlatformFile.read(home) == PlatformFile("127.0.0.1:7", "http://localhost:8", 9)


def test_the_environment_wins_over_the_home_and_arguments_over_both(home: Path) -> None:
    environ = {"PENSTOCK_HOME": str(home), "PENSTOCK_TARGET": "host:1", "PENSTOCK_TOKEN": "t"}
    settings = Settings.read(environ)
    assert connection(settings=settings) == Connection("host:1", "t")
    assert connection("other:2", "u", settings) == Connection("other:2", "u")


def test_without_a_platform_the_default_is_tried(tmp_path: Path) -> None:
    assert connection(settings=Settings(tmp_path)) == Connection("127.0.0.1:50051", "")


def test_the_home_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert Settings.read({}).home == Path("/somewhere/.penstock")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"api": "x"}', '{"api": "x", "gateway": "y", "pid": "z"}'])
def test_a_half_written_file_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "platform.json").write_text(content)
    assert PlatformFile.read(tmp_path) is None


def test_a_token_that_cannot_be_read_says_whom_to_ask(tmp_path: Path) -> None:
    (tmp_path / "admin_token").mkdir()
    with pytest.raises(PlatformError, match=r"the admin token .* cannot be read") as caught:
        connection(settings=Settings(tmp_path))
    assert "PENSTOCK_TOKEN" in caught.value.hint
