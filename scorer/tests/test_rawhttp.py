"""``@rawhttp`` scripts, with Werkzeug."""

from typing import Any

import pytest

pytest.importorskip("werkzeug")

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
