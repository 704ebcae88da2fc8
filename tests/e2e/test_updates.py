"""An update that cannot serve costs nothing: what served goes on, and its owner learns the cause in his own words."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.files import SCORE, deployment_yaml, serve
from tests.e2e.load import Load, aim
from tests.e2e.platform import Platform

BROKEN_INIT = "def init():\n    raise RuntimeError('no weights')\n\ndef run(data):\n    return {}\n"
LEAVES = "import os\n\ndef init():\n    os._exit(3)\n\ndef run(data):\n    return {}\n"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"score": BROKEN_INIT}, "no weights"),
        ({"score": LEAVES}, "code 3"),
        ({"environment": "dependencies: [{pip: [penstock-there-is-no-such-package==7.7.7]}]\n"}, "no-such-package"),
    ],
    ids=["init", "crash-loop", "environment"],
)
def test_a_failing_update_keeps_what_serves_and_the_next_good_one_mends_it(
    platform: Platform, tmp_path: Path, broken: dict[str, str], says: str, request: pytest.FixtureRequest
) -> None:
    name = "house-" + request.node.callspec.id
    key = serve(platform, tmp_path, name, "blue")
    with Load(aim(platform.gateway_port, name, key), connections=2, rate=50) as load:
        failed = platform.cli(
            "online-deployment", "update", "-f", deployment_yaml(tmp_path, name, "blue", **broken), check=False
        )
        assert failed.returncode == 1
        assert says in failed.stderr

        shown = platform.json("online-deployment", "show", "-n", "blue", "-e", name)
        assert shown["provisioning_state"] == "Failed"
        assert says in str(shown["conditions"])
        if broken.get("score") == BROKEN_INIT:
            assert "score.py" in str(shown["conditions"])  # the user's own traceback
            assert "line 2" in str(shown["conditions"])

        mended = SCORE.replace("os.getpid()", "'mended'")
        platform.cli("online-deployment", "update", "-f", deployment_yaml(tmp_path, name, "blue", score=mended))
        assert platform.score(name, {}, key=key).json()["pid"] == "mended"
    assert load.tally.failures == [], platform.refused()


def test_what_ends_while_an_update_fails_is_replaced_by_its_like(platform: Platform, tmp_path: Path) -> None:
    key = serve(platform, tmp_path, "fallback", "blue")
    path = deployment_yaml(tmp_path, "fallback", "blue", score=BROKEN_INIT)
    platform.cli("online-deployment", "update", "-f", path, check=False)
    served = platform.score("fallback", {}, key=key).json()["pid"]
    os.kill(served, signal.SIGKILL)
    platform.until(lambda: platform.score_or_none("fallback", key) == 200, 60)
    assert platform.score("fallback", {}, key=key).json()["pid"] != served


def test_a_deployment_that_is_kept_though_it_failed_shows_the_users_traceback(
    platform: Platform, tmp_path: Path
) -> None:
    serve(platform, tmp_path, "kept", "blue")
    path = deployment_yaml(tmp_path, "kept", "green", score=BROKEN_INIT)
    failed = platform.cli("online-deployment", "create", "-f", path, "--keep-failed", check=False)
    assert failed.returncode == 1
    shown = platform.json("online-deployment", "show", "-n", "green", "-e", "kept")
    for told in (failed.stderr, str(shown["conditions"])):
        assert "RuntimeError: no weights" in told
        assert "score.py" in told
    logs = platform.cli("online-deployment", "get-logs", "-n", "green", "-e", "kept").stdout
    assert "RuntimeError: no weights" in logs
