"""Environments written for the hosted service."""

from pathlib import Path

from controlplane.backends.environments import conda, hosted, requirements


def test_the_scorer_takes_the_place_of_the_services_own_packages() -> None:
    wanted = requirements.read("azureml-defaults==1.50\nscikit-learn==1.5.0\n")
    fitted = hosted.fit(wanted, frozenset({"flask", "numpy", "json", "sklearn"}))
    assert [each.line for each in fitted.environment.packages] == [
        "scikit-learn==1.5.0",
        "flask",
        "numpy",
        "inference-schema",
    ]
    assert [each.text for each in fitted.environment.differences] == [
        "azureml-defaults is not installed: the scorer is the server, and has what scripts import of the SDK"
    ]
    assert all(each.equivalent for each in fitted.environment.differences)


def test_nothing_is_added_to_what_did_not_ask_for_the_service() -> None:
    wanted = conda.read("dependencies: [numpy]")
    assert hosted.fit(wanted, frozenset({"flask", "numpy"})).environment == wanted


def test_raw_http_scripts_get_what_they_need() -> None:
    wanted = requirements.read("")
    assert hosted.fit(wanted, frozenset({"azureml.contrib.services"})).scorer_extras == ("rawhttp",)
    assert hosted.fit(wanted, frozenset({"json"})).scorer_extras == ()


def test_imports_are_read_and_nothing_is_run(tmp_path: Path) -> None:
    script, broken = tmp_path / "score.py", tmp_path / "broken.py"
    script.write_text(
        "raise SystemExit\nfrom azureml.contrib.services.aml_request import rawhttp\n"
        "import a.b, c as d\nfrom . import e\n"
    )
    broken.write_bytes(b"def (\x00")
    assert hosted.imports_of([script, broken, tmp_path / "gone.py"]) == {
        "azureml",
        "azureml.contrib",
        "azureml.contrib.services",
        "azureml.contrib.services.aml_request",
        "a",
        "a.b",
        "c",
    }
