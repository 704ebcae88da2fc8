"""What a script and its clients rely on, without sockets. Bodies are those of azureml-inference-server-http 1.5.1."""

import threading
from typing import Any

import pytest
from penstock_scorer.contract import script
from penstock_scorer.contract.results import NotSerializableError, to_json
from penstock_scorer.dataplane.job import Job
from penstock_scorer.dataplane.limits import ScoringTimeoutError
from penstock_scorer.errors import (
    BadSignatureError,
    InitError,
    MissingFunctionError,
    ScriptImportError,
    ScriptNotFoundError,
)
from penstock_scorer.http.cors import Cors

from scorer.tests.conftest import FakeRequest

ECHO = """
import json
def init(): pass
def run(anything):
    return json.loads(anything)
"""


def test_a_body_comes_back_formatted_as_the_standard_library_does(app: Any) -> None:
    answer = app(ECHO)("POST", body='{"a":[1.0,1e16,"é"],"b":null}'.encode())
    assert (answer.status, answer.answer) == (200, b'{"a": [1.0, 1e+16, "\\u00e9"], "b": null}')
    assert answer.answer_headers["content-type"] == "application/json"
    assert answer.answer_headers["x-ms-run-function-failed"] == "False"
    assert float(answer.answer_headers["x-ms-run-fn-exec-ms"]) >= 0


def test_query_parameters_become_an_object(app: Any) -> None:
    assert app(ECHO)("GET", "/score?a=1&b=x&a=2&c=null&d=&e=%ff").json == {
        "a": [1, 2],
        "b": "x",
        "c": None,
        "d": "",
        "e": "%FF",
    }


def test_a_body_that_is_not_utf_8_is_the_clients_fault(app: Any) -> None:
    answer = app(ECHO)("POST", body=b"\xff")
    assert answer.status == 400
    assert answer.json["message"].startswith("Input cannot be decoded as UTF-8: ")


def test_an_exception_is_a_failed_run_and_says_nothing_to_the_client(app: Any, capsys: Any) -> None:
    answer = app("def init(): pass\ndef run(data): raise KeyError('secret')")("POST")
    assert answer.status == 500
    assert answer.answer_headers["x-ms-run-function-failed"] == "True"
    assert "x-ms-run-fn-exec-ms" not in answer.answer_headers
    assert answer.json == {"message": "An unexpected error occurred in scoring script. Check the logs for more info."}


@pytest.mark.parametrize(
    ("result", "body"),
    [("None", "{}"), ("(1, 2)", "[1, 2]"), ("float('nan')", "NaN"), ("'é'", '"\\u00e9"'), ("True", "true")],
)
def test_results(app: Any, result: Any, body: Any) -> None:
    assert app(f"def init(): pass\ndef run(data): return {result}")("POST").answer.decode() == body


def test_numpy_results() -> None:
    numpy = pytest.importorskip("numpy")
    value = {"a": numpy.arange(3), "f": numpy.float32(0.5), "d": numpy.float64(0.1), "b": numpy.bool_(1)}
    assert to_json(value) == b'{"a": [0, 1, 2], "f": 0.5, "d": 0.1, "b": true}'


@pytest.mark.parametrize("value", [{1}, b"x", object(), {"a": {(): 1}}])
def test_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(NotSerializableError):
        to_json(value)


def test_an_unserializable_result_is_not_a_failed_run(app: Any) -> None:
    answer = app("def init(): pass\ndef run(data): return {1}")("POST")
    assert (answer.status, answer.answer_headers["x-ms-run-function-failed"]) == (500, "False")
    assert answer.json == {"message": "An unexpected internal error occurred. Check the logs for more info."}


def test_request_headers_reach_the_script(app: Any) -> None:
    text = "def init(): pass\ndef run(data, request_headers): return request_headers['X-Thing']"
    assert app(text)("POST", x_thing="7").json == "7"


@pytest.mark.parametrize("path", ["/score/", "/nope", "/score/x", "/metrics/"])
def test_unknown_paths(app: Any, path: Any) -> None:
    answer = app(ECHO)("GET", path)
    assert answer.status == 404
    assert answer.json["message"].startswith("The requested URL was not found")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405), ("HEAD", "/", 200), ("OPTIONS", "/", 200), ("PUT", "/score", 405),
        ("OPTIONS", "/score", 200), ("HEAD", "/score", 405), ("POST", "/swagger.json", 405),
    ],
)  # fmt: skip
def test_methods(app: Any, method: Any, path: Any, status: Any) -> None:
    assert app(ECHO)(method, path).status == status


def test_health(app: Any) -> None:
    answer = app(ECHO)("GET", "/")
    assert (answer.status, answer.answer) == (200, b"Healthy")
    assert answer.answer_headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ({"x_request_id": "r"}, {"x-request-id": "r", "x-ms-request-id": "r"}),
        (
            {"x_request_id": "r", "x_ms_client_request_id": "c"},
            {"x-request-id": "r", "x-ms-request-id": "c", "x-ms-client-request-id": "c"},
        ),
        (
            {"x_request_id": "r", "x_ms_request_id": "l"},
            {"x-request-id": "r", "x-ms-request-id": "l", "x-ms-client-request-id": "l"},
        ),
        ({"x_request_id": "", "traceid": "t"}, {"traceid": "t"}),
    ],
)
def test_ids(app: Any, sent: Any, received: Any) -> None:
    headers = app(ECHO)("GET", **sent).answer_headers
    names = ("x-request-id", "x-ms-request-id", "x-ms-client-request-id", "traceid")
    assert {name: headers[name] for name in names if name in headers} == received


@pytest.mark.parametrize("name", ["x_request_id", "x_ms_request_id", "x_ms_client_request_id"])
def test_long_ids_are_refused(app: Any, name: Any) -> None:
    answer = app(ECHO)("GET", **{name: "a" * 101})
    assert answer.status == 431
    assert "must not exceed 100 characters" in answer.json["message"]
    assert app(ECHO)("GET", **{name: "a" * 100}).status == 200


def test_swagger(app: Any) -> None:
    served = app(ECHO)
    assert served("GET", "/swagger.json").json["swagger"] == "2.0"
    assert served("GET", "/swagger.json?version=3.0").json["openapi"] == "3.0.3"
    document = served("GET", "/swagger.json?version=3.1").json
    assert document["openapi"] == "3.1.0"
    assert document["components"]["schemas"]["ServiceInput"] == {"type": "object", "example": {}}
    assert {op["operationId"] for path in document["paths"].values() for op in path.values()} == {
        "ServiceHealthCheck", "RunMLService", "GetSwaggerSpec",
    }  # fmt: skip
    answer = served("GET", "/swagger.json?version=7")
    assert answer.status == 404
    assert answer.json == {"message": "Swagger version [7] is not valid. Supported versions: [2, 3, 3.1]."}


def test_a_swagger_file_beside_the_script_wins(app: Any, write: Any) -> None:
    write('{"mine": 1}', "swagger3.json")
    served = app(ECHO)
    assert served("GET", "/swagger.json?version=3").json == {"mine": 1}
    assert served("GET", "/swagger.json").json["swagger"] == "2.0"


def test_cors(app: Any) -> None:
    served = app(ECHO, cors=Cors(("https://a.example",)))
    assert (
        served("GET", origin="https://a.example").answer_headers["access-control-allow-origin"] == "https://a.example"
    )
    assert "access-control-allow-origin" not in served("GET", origin="https://b.example").answer_headers
    preflight = served("OPTIONS", origin="https://a.example", access_control_request_method="POST")
    assert preflight.answer_headers["access-control-allow-methods"] == "GET, POST"


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("def run(d): pass", MissingFunctionError, "does not define init()"),
        ("def init(): pass", MissingFunctionError, "does not define run()"),
        ("def init(:", ScriptImportError, "score.py, line 1: SyntaxError"),
        ("import nothing_like_this", ScriptImportError, "ModuleNotFoundError"),
        ("def init(): pass\ndef run(): pass", BadSignatureError, "an argument for input data"),
        ("def init(): pass\ndef run(request_headers): pass", BadSignatureError, "other than"),
        ("def init(): pass\ndef run(*a): pass", BadSignatureError, "*args"),
        ("def init(): pass\ndef run(a, /): pass", BadSignatureError, "positional-only"),
        ("def init(): pass\ndef run(a, **k): pass", BadSignatureError, "**kwargs"),
    ],
)
def test_scripts_that_cannot_be_served(write: Any, text: Any, error: Any, part: Any) -> None:
    with pytest.raises(error) as caught:
        script.load(write(text))
    assert part in str(caught.value)


def test_a_missing_script(tmp_path: Any) -> None:
    with pytest.raises(ScriptNotFoundError):
        script.load(tmp_path / "none.py")


def test_a_failing_init_names_the_users_exception(write: Any) -> None:
    loaded = script.load(write("def init(): open('/no/such/file')\ndef run(d): pass"))
    with pytest.raises(InitError, match=r"init\(\) in score.py raised FileNotFoundError: .*no/such/file"):
        loaded.init()


def test_model_path(write: Any, tmp_path: Any, monkeypatch: Any) -> None:
    folder = tmp_path / "azureml-models" / "m"
    for version in ("2", "10"):
        (folder / version).mkdir(parents=True)
        (folder / version / "model.pkl").touch()
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    loaded = script.load(
        write("""
        from azureml.core.model import Model
        def init(): pass
        def run(version): return Model.get_model_path("m", version)
        """)
    )
    assert loaded.run.call(version=None) == str(folder / "10" / "model.pkl")
    assert loaded.run.call(version=2) == str(folder / "2" / "model.pkl")


def test_deep_nesting_is_an_answer(app: Any) -> None:
    assert app(ECHO)("POST", body=b"[" * 100_000).status == 500


def test_an_interruption_that_strikes_between_claim_and_answer_leaves_nobody_waiting(app, monkeypatch):
    def interrupted(request, status, headers, body):
        raise ScoringTimeoutError

    monkeypatch.setattr(FakeRequest, "respond", interrupted)
    answer = app(ECHO)("POST", body=b"{}")
    assert (answer.answers, answer.cuts) == (0, 1)


def test_each_lane_is_written_by_its_own_thread(app, monkeypatch):
    """The watchman finds a client gone while the transport counts: on one lane they would lose each other's counts."""
    monkeypatch.setattr(FakeRequest, "watch", lambda request, gone: gone())
    one = app(ECHO)
    job = Job(FakeRequest(), "POST", "/score", "", "", list, [], 0.0)
    one.scoring.submit(job)
    watchman = threading.Thread(target=one.scoring._watch_client, args=(job,))
    watchman.start()
    watchman.join()
    transport, watch = (one.metrics.lane(0, number) for number in range(2))
    assert [lane._cells[lane._base + 1] for lane in (transport, watch)] == [0, 1]
    assert one.metrics.totals().in_flight == 0
