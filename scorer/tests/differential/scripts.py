"""The scripts both servers run, and the environment each is started with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Service:
    """A script and how to start it."""

    text: str
    environ: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


UNDECORATED = """
def init(): pass
def run(data):
    return [type(data).__name__, data]
"""

HEADERS = """
def init(): pass
def run(data, request_headers):
    return {"type": type(request_headers).__name__, "headers": sorted(request_headers.items())}
"""

RESULTS = """
import collections, datetime, decimal, enum, json, math
import numpy
class Colour(enum.IntEnum):
    RED = 1
class Text(str):
    pass
Point = collections.namedtuple("Point", "x y")
def loop():
    x = []
    x.append(x)
    return x
VALUES = {
    "none": lambda: None, "tuple": lambda: (1, "a"), "nan": lambda: math.nan, "inf": lambda: [math.inf, -math.inf],
    "true": lambda: True, "text": lambda: "\\u00e9\\u20ac\\U0001f600\\"\\\\/\\n\\x7f", "surrogate": lambda: "\\ud800",
    "empty": lambda: "", "zero": lambda: 0, "false": lambda: False, "list": lambda: [], "dict": lambda: {},
    "big": lambda: 10 ** 400, "float": lambda: [0.1, 1e16, 1e-7, -0.0],
    "keys": lambda: {1: 2, None: 3, True: 4, 1.5: 6},
    "tuplekey": lambda: {(1, 2): 3}, "set": lambda: {1}, "bytes": lambda: b"x", "object": lambda: object(),
    "decimal": lambda: decimal.Decimal("1.5"), "date": lambda: datetime.date(2020, 1, 1), "enum": lambda: Colour.RED,
    "namedtuple": lambda: Point(1, 2), "ordered": lambda: collections.OrderedDict(b=1, a=2), "loop": loop,
    "text_subclass": lambda: Text("x"), "json": lambda: json.dumps({"a": 1}), "bytearray": lambda: bytearray(b"x"),
    "complex": lambda: 1j, "range": lambda: range(3), "exception": lambda: ValueError("x"),
    "ndarray": lambda: numpy.arange(3), "nested_ndarray": lambda: {"a": [numpy.ones((1, 2))]},
    "float64": lambda: numpy.float64(0.5), "float32": lambda: numpy.float32(0.1), "int64": lambda: numpy.int64(3),
    "bool_": lambda: numpy.bool_(True), "str_": lambda: numpy.str_("x"), "datetime64": lambda: numpy.datetime64("2020"),
    "deep": lambda: json.loads("[" * 900 + "]" * 900), "long": lambda: "x" * 300_000,
}
def init(): pass
def run(data):
    return VALUES[data.strip()]()
"""

FAILING = """
import sys
class Own(BaseException): pass
ERRORS = {
    "value": ValueError("x"), "key": KeyError("x"), "timeout": TimeoutError("mine"), "stop": StopIteration(),
    "recursion": RecursionError(), "memory": MemoryError(), "os": OSError(5, "x"),
}
def init(): pass
def run(data):
    if data == "exit": sys.exit(3)
    if data == "deep": return run(data)
    raise ERRORS[data]
"""

TIMEOUT = """
import time
def init(): pass
def run(data):
    end = time.time() + float(data)
    while time.time() < end: time.sleep(0.001)
    return "done"
"""

NUMPY_SCHEMA = """
import numpy
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
def init(): pass
@input_schema("data", NumpyParameterType(numpy.array([[0, 1], [2, 3]])))
@input_schema("scale", StandardPythonParameterType(1.5))
@output_schema(StandardPythonParameterType([1.5]))
def run(data, scale=2.0):
    return [str(data.dtype), list(data.shape), (data * scale).sum(axis=1).tolist()]
"""

PANDAS_SCHEMA = """
import pandas
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
def init(): pass
@input_schema("frame", PandasParameterType(pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})))
@output_schema(StandardPythonParameterType({"rows": 1}))
def run(frame):
    return {"rows": len(frame), "types": [str(t) for t in frame.dtypes], "cells": frame.values.tolist()}
"""

STANDARD_SCHEMA = """
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
def init(): pass
@input_schema("name", StandardPythonParameterType("Ada"))
@input_schema("options", StandardPythonParameterType({"shout": True, "times": 1}))
@input_schema("tags", StandardPythonParameterType(["a"]))
@output_schema(StandardPythonParameterType("hello"))
def run(name, request_headers, options={"times": 2}, tags=None):
    return [name, options, tags, request_headers.get("X-Thing")]
"""

RENAMED_SCHEMA = """
import numpy
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
def init(): pass
@input_schema("data", NumpyParameterType(numpy.array([[0, 1]])))
def run(raw_data):
    return raw_data.tolist()
"""

RAW = """
from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse
import flask, time, werkzeug
def init(): pass
def described(request):
    return {
        "method": request.method, "path": request.path, "full_path": request.full_path, "url": request.url,
        "base_url": request.base_url, "host": request.host, "scheme": request.scheme,
        "args": request.args.to_dict(flat=False), "query": request.query_string.decode("latin-1"),
        "data": request.get_data(cache=True, parse_form_data=True).decode("latin-1"),
        "form": request.form.to_dict(flat=False), "mimetype": request.mimetype, "is_json": request.is_json,
        "files": {k: [f.filename, f.read().decode("latin-1")] for k, f in request.files.items()},
        "length": request.content_length, "headers": sorted((k, v) for k, v in request.headers.items()),
        "cookies": request.cookies.to_dict(),
    }
def parts():
    for part in ("a", "b", "\\u00e9"):
        yield part
def run_body(request): return request.get_data(as_text=False).decode("latin-1")
ACTIONS = {
    "": described,
    "raw": run_body,
    "json": lambda r: {"json": r.get_json(silent=True)},
    "loudjson": lambda r: {"json": r.json},
    "jsonify": lambda r: flask.jsonify({"b": 1, "a": [1.5, None, "\\u00e9"]}),
    "jsonify_args": lambda r: flask.jsonify(1, 2),
    "response": lambda r: flask.Response("hello", 202, {"X-One": "1"}, mimetype="text/plain"),
    "cookie": lambda r: with_cookies(flask.Response("c")),
    "make": lambda r: flask.make_response("made", 201),
    "generator": lambda r: flask.Response(parts(), mimetype="text/event-stream"),
    "werkzeug": lambda r: werkzeug.Response("w", 200),
    "context": lambda r: {"same": flask.request.path, "app": flask.current_app is not None},
    "proxy_args": lambda r: dict(flask.request.args),
    "g": lambda r: setattr(flask.g, "mine", 1) or flask.g.mine,
    "abort": lambda r: flask.abort(418),
    "redirect": lambda r: flask.redirect("/elsewhere"),
    "aml": lambda r: AMLResponse("text", 200),
    "aml_json": lambda r: AMLResponse({"a": "\\u00e9"}, 201, {"X-Two": "1, 2"}, json_str=True),
    "aml_none": lambda r: AMLResponse(None, 200),
    "aml_bytes": lambda r: AMLResponse(b"\\x00\\xff", 200, {"Content-Type": "application/octet-stream"}),
    "aml_500": lambda r: AMLResponse("broken", 500),
    "aml_503": lambda r: AMLResponse({"m": 1}, 503, json_str=True),
    "aml_failed": lambda r: AMLResponse("failed", 200, run_function_failed=True),
    "aml_404": lambda r: AMLResponse("none", 404),
    "aml_204": lambda r: AMLResponse("", 204),
    "ids": lambda r: AMLResponse("ids", 200, {"x-request-id": "mine", "x-ms-run-fn-exec-ms": "7", "TraceId": "t"}),
    "date": lambda r: AMLResponse("d", 200, {"Date": "Mon, 01 Jan 2001 00:00:00 GMT", "Server": "mine"}),
    "dict": lambda r: {"plain": True},
    "none": lambda r: None,
    "tuple": lambda r: ("body", 201),
    "raise": lambda r: 1 / 0,
    "stream_read": lambda r: {"read": r.stream.read().decode("latin-1")},
    "values": lambda r: r.values.to_dict(),
    "accept": lambda r: {"best": r.accept_mimetypes.best, "ref": r.referrer, "agent": r.user_agent.string},
}
def with_cookies(response):
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    return response
@rawhttp
def run(request):
    return ACTIONS[request.args.get("do", "")](request)
"""

SERVICES = {
    "undecorated": Service(UNDECORATED),
    "headers": Service(HEADERS),
    "results": Service(RESULTS),
    "failing": Service(FAILING),
    "timeout": Service(TIMEOUT, {"SCORING_TIMEOUT_MS": "300"}),
    "numpy": Service(NUMPY_SCHEMA, {"SERVICE_NAME": "numbers", "SERVICE_VERSION": "2"}),
    "pandas": Service(PANDAS_SCHEMA),
    "standard": Service(STANDARD_SCHEMA),
    "renamed": Service(RENAMED_SCHEMA),
    "raw": Service(RAW),
    "cors": Service(UNDECORATED, {"AML_CORS_ORIGINS": "https://b.example, https://A.example"}),
    "cors_one": Service(UNDECORATED, {"AML_CORS_ORIGINS": "https://a.example"}),
    "cors_all": Service(RAW, {"AML_CORS_ORIGINS": "*"}),
    "cors_pattern": Service(UNDECORATED, {"AML_CORS_ORIGINS": r"https://.*\.a\.example"}),
}
