"""The examples load, and their environment is the one their models were trained in."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from penstock import manifest

DIABETES = Path(__file__).parents[3] / "examples" / "diabetes"


@pytest.fixture
def diabetes(tmp_path: Path) -> Path:
    """A copy with its models in place; training them takes seconds, and reading does not look inside."""
    folder = tmp_path / "diabetes"
    shutil.copytree(DIABETES, folder, ignore=shutil.ignore_patterns("models", "__pycache__"))
    (folder / "models").mkdir()
    for name in ("linear", "boosted"):
        (folder / "models" / f"{name}.joblib").touch()
    return folder


def test_the_current_form(diabetes: Path) -> None:
    endpoint = manifest.load_endpoint(diabetes / "endpoint.yml").value
    blue = manifest.load_deployment(diabetes / "blue.yml").value
    green = manifest.load_deployment(diabetes / "green.yml").value
    assert {blue.endpoint_name, green.endpoint_name} == {endpoint.name}
    assert (blue.name, green.name) == ("blue", "green")


def test_the_2021_form(diabetes: Path) -> None:
    endpoint = manifest.load_endpoint(diabetes / "endpoint-2021.yml").value
    assert [d.name for d in endpoint.deployments] == ["blue", "green"]
    assert endpoint.traffic == {"blue": 90, "green": 10}


def test_models_are_scored_with_the_packages_they_were_trained_with() -> None:
    conda = (DIABETES / "conda.yml").read_text()
    for package in ("scikit-learn", "joblib"):
        assert f"- {package}=={version(package)}\n" in conda
