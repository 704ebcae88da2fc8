"""Whatever a file holds, reading it ends in a value or in mistakes that each have a place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import manifest
from penstock.errors import ManifestError, Problem
from penstock.manifest import Text, TrafficError, parse_traffic
from penstock.manifest.traffic import traffic_mistake

KEYS = [
    "name", "endpoint_name", "auth_mode", "traffic", "mirror_traffic", "deployments", "model", "code_configuration",
    "code", "scoring_script", "environment", "conda_file", "image", "docker", "build", "path", "local_path", "version",
    "scale_settings", "scale_type", "type", "instance_count", "min_instances", "request_settings", "liveness_probe",
    "period", "tags", "properties", "$schema", "identity", "inference_config", "scoring_route", "port",
    "data_collector", "environment_variables", "<<", "blue",
]  # fmt: skip
words = st.sampled_from(["blue", "azureml:m:1", "azureml:m@latest", "file:x.yml", "manual", "auto", "key", "", "~"])
leaves = st.one_of(words, st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none())
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), inner, max_size=8),
    ),
    max_leaves=30,
)
LOADS = [manifest.load_endpoint, manifest.load_deployment, manifest.load_model, manifest.load_environment]


def check(load: Callable[..., Any], text: str) -> None:
    problems: tuple[Problem, ...] | None = None
    try:
        load(Text(text, "f.yml", Path("/nonexistent-folder-of-the-test")))
    except ManifestError as error:
        problems = error.problems
    if problems is not None:
        assert problems
        lines = sum(text.count(end) for end in "\n\r\x85\u2028\u2029")
        for problem in problems:
            assert problem.position.file == "f.yml"
            assert problem.message
            assert 0 <= problem.position.line <= lines + 2


@pytest.mark.parametrize("load", LOADS)
@given(text=st.text(max_size=200))
def test_any_text(load: Callable[..., Any], text: str) -> None:
    check(load, text)


@pytest.mark.parametrize("load", LOADS)
@given(text=st.text(alphabet="ab:-[]{}&*!<>|?%#'\"\\ \n\t~0.1=,@`", max_size=80))
def test_any_text_of_yaml_characters(load: Callable[..., Any], text: str) -> None:
    check(load, text)


@pytest.mark.parametrize("load", LOADS)
@given(tree=st.dictionaries(st.sampled_from(KEYS), trees, max_size=12))
def test_any_tree_of_known_keys(load: Callable[..., Any], tree: dict[str, Any]) -> None:
    check(load, json.dumps(tree))


names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9-]{1,20}[a-zA-Z0-9]", fullmatch=True)


@given(
    st.dictionaries(names, st.integers(0, 100), max_size=6), st.sampled_from("=:"), st.sampled_from([" ", ",", ", "])
)
def test_traffic_that_is_written_is_read(traffic: dict[str, int], sign: str, separator: str) -> None:
    assert parse_traffic(separator.join(f"{name}{sign}{percent}" for name, percent in traffic.items())) == traffic


@given(st.text(max_size=60))
def test_any_traffic_text(text: str) -> None:
    try:
        traffic = parse_traffic(text)
    except TrafficError:
        return
    assert all(0 <= percent <= 100 for percent in traffic.values())
    assert bool(traffic_mistake(traffic)) == (sum(traffic.values()) not in (0, 100))
