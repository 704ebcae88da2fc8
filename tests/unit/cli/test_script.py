from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.main import main

GOOD = "import json\ndef init():\n    pass\ndef run(data):\n    return sum(json.loads(data)['data'])\n"
BAD = "def init():\n    raise ValueError('no weights')\ndef run(data):\n    return data\n"


def test_a_script_is_tried_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, request = tmp_path / "score.py", tmp_path / "request.json"
    script.write_text(GOOD)
    request.write_text('{"data": [1, 2.5]}')
    assert main(["test-script", str(script), "--request-file", str(request), "--repeat", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("OK")
    assert "run 2" in said
    assert said.rstrip().endswith("3.5")


def test_a_script_that_fails_shows_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "score.py"
    script.write_text(BAD)
    assert main(["test-script", str(script)]) == 1
    said = capsys.readouterr()
    assert "ValueError: no weights" in said.out
    assert said.err.startswith(f"error: {script} does not answer")


def test_a_script_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["test-script", "/no/such.py"])
    assert ended.value.code == 2
    assert "there is no file '/no/such.py'" in capsys.readouterr().err
