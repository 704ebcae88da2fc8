"""``@rawhttp`` scripts, with Werkzeug."""

import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("werkzeug")

from penstock_scorer.contract.amlhttp import build_request

RAW = """
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse
def init(): pass
@rawhttp
def run(request):
    assert isinstance(request, AMLRequest)
    if request.method == "GET":
        return AMLResponse(request.full_path, 203, {"X-Many": "a, b", "Content-Type": "text/plain"})
    if request.args.get("stream"):
        from werkzeug.wrappers import Response
        return Response((part for part in ("a", "b")), mimetype="text/plain")
    if request.args.get("fail"):
        return AMLResponse("no", 503)
    return {"length": len(request.get_data()), "form": request.form.to_dict()}
"""


def test_the_script_decides(app: Any) -> None:
    answer = app(RAW)("GET", "/score?a=b")
    assert (answer.status, answer.answer) == (203, b"/score?a=b")
    assert answer.answer_headers["content-type"] == "text/plain"
    assert answer.answer_headers["x-many"] == "b"  # repeated, the fake keeps the last


def test_the_connection_is_not_the_scripts(app: Any) -> None:
    """A response that says how it is framed, or names no header can have, would be read as something else."""
    script = RAW.replace(
        '{"X-Many": "a, b", ', '{"Transfer-Encoding": "chunked", "Connection": "upgrade", "X: y": "z", '
    )
    answer = app(script)("GET", "/score?a=b")
    assert (answer.status, answer.answer) == (203, b"/score?a=b")
    assert not {"transfer-encoding", "connection", "x: y"} & answer.answer_headers.keys()


def test_forms(app: Any) -> None:
    answer = app(RAW)("POST", body=b"x=1", content_type="application/x-www-form-urlencoded")
    assert answer.json["form"] == {"x": "1"}


def test_bodies(app: Any) -> None:
    assert app(RAW)("POST", body=b"\xff\x00").json["length"] == 2


def test_options_is_the_scripts(app: Any) -> None:
    assert app(RAW)("OPTIONS").json == {"length": 0, "form": {}}


def test_streams(app: Any) -> None:
    answer = app(RAW)("POST", "/score?stream=1")
    assert (answer.status, answer.answer) == (200, b"ab")


def test_a_server_error_counts_as_a_failed_run(app: Any) -> None:
    answer = app(RAW)("POST", "/score?fail=1")
    assert (answer.status, answer.answer_headers["x-ms-run-function-failed"]) == (503, "True")


FLASK = """
import flask
from azureml.contrib.services.aml_request import AMLRequest, rawhttp
def init(): pass
def parts():
    yield flask.request.method if flask.has_request_context() else "no context"
ACTIONS = {
    "jsonify": lambda r: flask.jsonify(b=1, a=2),
    "make": lambda r: flask.make_response("made", 201),
    "same": lambda r: {"same": flask.request._get_current_object() is r, "aml": isinstance(r, AMLRequest)},
    "body": lambda r: [flask.request.get_json(), r.get_data(as_text=True)],
    "stream": lambda r: flask.Response(parts()),
    "stream_with_context": lambda r: flask.Response(flask.stream_with_context(parts())),
    "g": lambda r: flask.jsonify(kept=hasattr(flask.g, "mine"), set=setattr(flask.g, "mine", 1)),
}
@rawhttp
def run(request): return ACTIONS[request.args["do"]](request)
"""


@pytest.mark.parametrize(
    ("action", "status", "body"),
    [
        ("jsonify", 200, b'{"a":2,"b":1}\n'), ("make", 201, b"made"), ("same", 200, b'{"same": true, "aml": true}'),
        ("body", 200, b'[{"x": 1}, "{\\"x\\": 1}"]'), ("stream", 200, b"no context"),
        ("stream_with_context", 200, b"POST"), ("g", 200, b'{"kept":false,"set":null}\n'),
    ],
)  # fmt: skip
def test_flask_works_as_in_an_application(app: Any, action: Any, status: Any, body: Any) -> None:
    pytest.importorskip("flask")
    answer = app(FLASK)("POST", f"/score?do={action}", body=b'{"x": 1}', content_type="application/json")
    assert (answer.status, answer.answer) == (status, body)


def test_flask_is_never_imported_for_a_script_that_does_not(tmp_path: Any) -> None:
    script = tmp_path / "score.py"
    script.write_text(RAW)
    program = (
        "import sys\nfrom pathlib import Path\nfrom penstock_scorer.contract import script\n"
        f"loaded = script.load(Path({str(script)!r}))\n"
        "from penstock_scorer.contract.amlhttp import build_request\n"
        "loaded.run.call(request=build_request(method='POST', path='/score', query='', headers=[], body=b''))\n"
        "assert 'flask' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_header_with_an_underscore_does_not_pass_for_another(app: Any) -> None:
    text = RAW.replace('"form": request.form.to_dict()', '"seen": request.headers.get("X-Penstock-Client")')
    answer = app(text)("POST", x_penstock_client="ada")
    assert answer.json["seen"] == "ada"
    request = build_request(method="GET", path="/", query="", headers=[("x_penstock_client", "eve")], body=b"")
    assert "X-Penstock-Client" not in request.headers


def test_head_does_not_run_a_stream(app: Any) -> None:
    text = RAW.replace('(part for part in ("a", "b"))', "(1 / 0 for _ in 'a')")
    text = text.replace('request.method == "GET"', "False")
    assert app(text)("HEAD", "/score?stream=1").status == 200
