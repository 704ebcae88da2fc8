"""The parsers of what clients send: any input is a value or a ``BadInputError``, nothing else."""

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from penstock_scorer.auth.policy import bearer
from penstock_scorer.contract.inputs import BadInputError, Parameter, is_json, parse_object, parse_query, parse_text
from penstock_scorer.http.cors import Cors
from penstock_scorer.http.ids import IdTooLongError, response_headers

NAMES = ("a", "b", "data")
BODIES = st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
PARAMETERS = (Parameter("a"), Parameter("b", required=False, default=7))


@given(
    method=st.sampled_from(["GET", "POST", "PUT", ""]),
    query=st.text(max_size=40),
    kind=st.text(max_size=30),
    body=BODIES,
)
@example(method="POST", query="", kind="application/json", body=b"[" * 100_000)
@example(method="POST", query="", kind="application/json", body=b'{"a": ' * 5000)
@example(method="POST", query="", kind="application/json", body=b'{"a": 1' + b"0" * 5000 + b"}")
@example(method="POST", query="", kind="application/json", body='{"a": "\udc80"}'.encode("utf-8", "surrogatepass"))
@example(method="GET", query="a=" + "[" * 100_000, kind="", body=b"")
@example(method="GET", query="a=1" + "0" * 5000, kind="", body=b"")
def test_arguments(method: str, query: str, kind: str, body: bytes) -> None:
    for content_type in (kind, "application/json"):
        try:
            arguments = parse_object(method, query, content_type, body, PARAMETERS)
        except BadInputError as error:
            problem = error
            assert (problem.status in {400, 405, 415}, bool(str(problem))) == (True, True)
        else:
            assert set(arguments) == {"a", "b"}
    with contextlib.suppress(BadInputError):
        assert isinstance(parse_text(method, query, body), str)


@given(
    st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5), max_size=4)
)
def test_an_object_written_as_a_query_comes_back(values: dict[str, Any]) -> None:
    written = urlencode({key: json.dumps(value) for key, value in values.items()})
    assert parse_query(written) == values


@given(st.text(max_size=50))
def test_headers_of_any_text(text: str) -> None:
    is_json(text)
    bearer(text)
    get = dict.fromkeys(
        ("x-request-id", "x-ms-request-id", "x-ms-client-request-id", "traceid", "origin",
         "access-control-request-method", "access-control-request-headers"), text
    ).get  # fmt: skip
    with contextlib.suppress(IdTooLongError):
        assert all(isinstance(value, str) for _, value in response_headers(get, []))
    Cors(("https://a.example", "*")).headers(get, "OPTIONS")
