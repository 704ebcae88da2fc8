"""The policy's rules, and the file that may change, vanish or break."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.auth.errors import PolicyError
from penstock_scorer.auth.guard import Guard
from penstock_scorer.auth.policy import bearer, dump, parse

SALT = bytes(range(16))


@given(st.text(max_size=60), st.text(min_size=1, max_size=60))
def test_only_the_keys_get_in(other: Any, key: Any) -> None:
    policy = parse(dump(SALT, {"primary": key, "secondary": key + "2"}))
    assert policy.verify(key) == "primary"
    assert policy.verify(key + "2") == "secondary"
    if other not in (key, key + "2"):
        assert policy.verify(other) is None


def test_no_key_is_in_the_file() -> None:
    assert "hunter2" not in dump(SALT, {"primary": "hunter2"})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"mode": "none"}, {"mode": None}, {"salt": "zz"}, {"salt": "00"}, {"keys": None},
        {"keys": [{"name": "a", "digest": "00"}]}, {"keys": [{"digest": "00" * 32}]}, {"keys": ["x"]},
    ],
)  # fmt: skip
def test_a_policy_that_is_not_understood_is_refused_whole(change: Any) -> None:
    with pytest.raises(PolicyError):
        parse(json.dumps({**json.loads(dump(SALT, {"primary": "k"})), **change}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "1"])
def test_garbage_is_refused(text: Any) -> None:
    with pytest.raises(PolicyError):
        parse(text)


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        (None, None), ("", None), ("k", None), ("Bearer", None), ("Bearer ", None), ("Basic k", None),
        ("Bearer k", "k"), ("bearer  k ", "k"), ("Bearer a b", "a b"),
    ],
)  # fmt: skip
def test_bearer(header: Any, credential: Any) -> None:
    assert bearer(header) == credential


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def policy_file(tmp_path: Any) -> Any:
    path = tmp_path / "policy.json"

    def put(text: Any) -> None:
        temporary = tmp_path / "new"
        temporary.write_text(text)
        temporary.replace(path)

    put(dump(SALT, {"primary": "old"}))
    return path, put


def test_a_revoked_key_stops_working_within_the_interval(policy_file: Any) -> None:
    path, put = policy_file
    clock = Clock()
    guard = Guard(path, clock)
    assert guard.client("Bearer old") == "primary"
    put(dump(SALT, {"primary": "new"}))
    clock.now = 0.2
    assert guard.client("Bearer old") is None
    assert guard.client("Bearer new") == "primary"


def test_the_file_is_not_looked_at_for_every_request(policy_file: Any) -> None:
    path, put = policy_file
    clock = Clock()
    guard = Guard(path, clock)
    assert guard.client("Bearer old") == "primary"
    put(dump(SALT, {"primary": "new"}))
    clock.now = 0.19
    assert guard.client("Bearer old") == "primary"


def test_a_new_key_works_at_once(policy_file: Any) -> None:
    path, put = policy_file
    clock = Clock()
    guard = Guard(path, clock)
    assert guard.client("Bearer old") == "primary"
    put(dump(SALT, {"primary": "new"}))
    clock.now = 0.011
    assert guard.client("Bearer new") == "primary"
    assert guard.client("Bearer old") is None


def test_guessing_does_not_make_the_file_be_read_again_and_again(policy_file: Any, monkeypatch: Any) -> None:
    path, _ = policy_file
    clock = Clock()
    guard = Guard(path, clock)
    looks = []
    stat = type(path).stat
    monkeypatch.setattr(type(path), "stat", lambda self: looks.append(1) or stat(self))
    for millisecond in range(100):
        clock.now = millisecond / 1000
        assert guard.client("Bearer guess") is None
    assert len(looks) <= 11


@pytest.mark.parametrize("text", [None, "{broken", '{"version": 99}'])
def test_a_lost_policy_stays_in_force_and_is_reported_once(
    policy_file: Any, text: Any, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(logging.getLogger("penstock_scorer"), "propagate", True)
    path, put = policy_file
    clock = Clock()
    guard = Guard(path, clock)
    assert guard.client("Bearer old") == "primary"
    path.unlink() if text is None else put(text)
    for second in range(1, 4):
        clock.now = second
        assert guard.client("Bearer old") == "primary"
        assert guard.client("Bearer new") is None
    assert len(caplog.records) == 1


def test_nobody_gets_in_before_the_first_policy(tmp_path: Any) -> None:
    clock = Clock()
    path = tmp_path / "policy.json"
    guard = Guard(path, clock)
    assert guard.client("Bearer k") is None
    path.write_text(dump(SALT, {"primary": "k"}))
    clock.now = 1
    assert guard.client("Bearer k") == "primary"


def test_routes_behind_a_guard(app: Any, policy_file: Any) -> None:
    path, _ = policy_file
    served = app("def init(): pass\ndef run(data): return 1", guard=Guard(path))
    assert served("GET", "/").status == 200
    assert served("GET", "/metrics").status == 200
    for method, target in (
        ("POST", "/score"),
        ("PUT", "/score"),
        ("GET", "/swagger.json"),
        ("GET", "/x"),
        ("POST", "/"),
    ):
        answer = served(method, target, authorization="Bearer wrong")
        assert (answer.status, answer.answer_headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json["error"]["code"] == "Unauthorized"
    assert served("POST", "/score", authorization="Bearer old").status == 200
    assert 'errors_total{kind="unauthorized"} 5' in served("GET", "/metrics").answer.decode()
