"""Settings come from the environment, and a wrong one is refused by name."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError

from controlplane.logging import configure_logging
from controlplane.settings import LogFormat, LogLevel, Settings


def test_the_defaults_listen_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    settings = Settings()
    assert (settings.api_address, settings.gateway_host) == ("127.0.0.1:50051", "127.0.0.1")
    assert settings.gateway_uri == "http://localhost:8080"
    assert settings.home.folder == Path("/home/me/.penstock")
    assert settings.database == "sqlite:////home/me/.penstock/penstock.db"


def test_the_environment_changes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    monkeypatch.setenv("PENSTOCK_GATEWAY_PORT", "9090")
    monkeypatch.setenv("PENSTOCK_PUBLIC_HOST", "models.example")
    settings = Settings()
    assert settings.home.folder == tmp_path
    assert settings.gateway_uri == "http://models.example:9090"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_GATEWAY_PORT", "70000"),
        ("PENSTOCK_API_PORT", "http"),
        ("PENSTOCK_PUBLIC_HOST", "http://models.example"),
        ("PENSTOCK_PUBLIC_HOST", "models.example:80"),
        ("PENSTOCK_RESYNC_SECONDS", "0"),
        ("PENSTOCK_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("PENSTOCK_").lower()):
        Settings()


@pytest.fixture
def restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_logs_are_json_lines_away_from_a_terminal(restored: None) -> None:
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, LogFormat.AUTO, stream)
    structlog.get_logger("ours").info("hello", endpoint="house")
    logging.getLogger("theirs").warning("careful %s", "now")
    structlog.get_logger("ours").debug("hidden")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["endpoint"], ours["level"]) == ("hello", "house", "info")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("careful now", "warning", "theirs")


def test_text_holds_the_traceback(restored: None) -> None:
    stream = io.StringIO()
    configure_logging(LogLevel.INFO, LogFormat.TEXT, stream)
    try:
        int("boom")
    except ValueError as error:
        structlog.get_logger("ours").error("failed", exc_info=error)
    assert "ValueError: invalid literal" in stream.getvalue()
    assert stream.getvalue().count("\n") > 2
