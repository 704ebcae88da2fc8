"""Where a setting comes from, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from penstock_scorer.configuration import resolve
from penstock_scorer.errors import SettingsError

HERE = Path("/srv")


def test_flag_wins_over_environment_wins_over_file(tmp_path: Any) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"WORKER_COUNT": 2, "SCORING_TIMEOUT_MS": 7, "entry_script": "from_file.py"}))
    flags = {"config_file": str(file), "port": "80"}
    settings = resolve(flags, {"WORKER_COUNT": "3", "SERVER_PORT": "90"}, HERE)
    assert (settings.port, settings.worker_count, settings.scoring_timeout_ms) == (80, 3, 7)
    assert settings.entry_script == HERE / "from_file.py"


def test_paths(tmp_path: Any) -> None:
    environ = {"AML_APP_ROOT": "/app", "AZUREML_ENTRY_SCRIPT": "src/score.py"}
    assert resolve({}, environ, HERE).entry_script == Path("/app/src/score.py")
    assert resolve({"entry_script": "s.py"}, environ, HERE).entry_script == HERE / "s.py"


@pytest.mark.parametrize(
    ("concurrent", "workers", "slots"), [(None, 1, 1), (None, 4, 1), (4, 1, 4), (4, 2, 2), (5, 2, 3), (1, 3, 1)]
)
def test_concurrency_is_shared_by_the_workers(concurrent: Any, workers: Any, slots: Any) -> None:
    environ = {} if concurrent is None else {"PENSTOCK_MAX_CONCURRENT": str(concurrent)}
    settings = resolve({"entry_script": "s", "worker_count": workers}, environ, HERE)
    assert settings.slots == slots
    shares = [settings.share(index) for index in range(settings.worker_count)]
    assert sum(shares) == (workers if concurrent is None else concurrent)
    assert settings.one_at_once is (set(shares) == {1})


def test_workers_that_could_never_run_anything_are_not_started() -> None:
    settings = resolve({"entry_script": "s", "worker_count": 4}, {"PENSTOCK_MAX_CONCURRENT": "3"}, HERE)
    assert settings.worker_count == 3
    assert "4 workers were asked for, 3 are started" in settings.notes[0]


@pytest.mark.parametrize(
    ("flags", "environ", "part"),
    [
        ({}, {}, "No entry script"),
        ({"entry_script": "s", "port": "x"}, {}, "--port is 'x', not a whole number."),
        ({"entry_script": "s", "port": "0"}, {}, "--port is 0, not between 1 and 65535."),
        ({"entry_script": "s"}, {"WORKER_COUNT": "0"}, "WORKER_COUNT is 0"),
        ({"entry_script": "s", "model_dir": "/no/such"}, {}, "The model directory /no/such does not exist"),
        ({"config_file": "/no/such"}, {}, "cannot be read: No such file"),
        ({"entry_script": "s", "host": "0.0.0.0"}, {}, "Refusing to listen on 0.0.0.0 with no authentication"),
    ],
)
def test_refusals_name_the_setting(flags: Any, environ: Any, part: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(flags, environ, HERE)
    assert part in str(caught.value)


def test_with_a_policy_it_may_be_reached_from_elsewhere() -> None:
    settings = resolve({"entry_script": "s", "host": "0.0.0.0"}, {"PENSTOCK_AUTH_POLICY": "/p"}, HERE)
    assert not settings.local
