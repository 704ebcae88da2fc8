"""The requests both servers get: listed by hand for each service, and generated."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from scorer.tests.differential.servers import Request

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=B")
_MULTIPART_BODY = (
    b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="x.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n\x00\xff\r\n--B--\r\n"
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


def post(body: Any = b"{}", *headers: tuple[str, str], target: str = "/score") -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", target, headers or (JSON,), data)


def get(target: str = "/score", *headers: tuple[str, str]) -> Request:
    return Request("GET", target, headers)


ROUTES = [
    Request(method, target)
    for method in METHODS
    for target in ("/", "/score", "/swagger.json", "/swagger.json?version=3.1", "/nope", "/score/", "/swagger.json/")
] + [
    get(target)
    for target in (
        "/?a=1", "/swagger.json?version=3", "/swagger.json?version=2.0", "/swagger.json?version=3.0",
        "/swagger.json?version=", "/swagger.json?version=9", "/swagger.json?version=2&version=9",
        "/swagger.json?version=%32", "/swagger.json?VERSION=3", "/swagger.json?version=%ff", "/%73core", "/score%2F",
        "/score;a=1", "/Score", "/score%20", "/score%00", "/score?", "/score#x", "/swagger", "//", "/./score",
        "/a/../score", "/%C3%A9", "/%ff",
    )
]  # fmt: skip
IDS = [
    get("/score", *headers)
    for headers in (
        [("x-request-id", "r")], [("X-Request-ID", "r"), ("x-ms-client-request-id", "c")], [("x-ms-request-id", "l")],
        [("x-ms-client-request-id", "c")], [("x-ms-client-request-id", "c"), ("x-ms-request-id", "l")],
        [("x-request-id", "")], [("x-ms-request-id", "")], [("x-ms-client-request-id", "")],
        [("x-request-id", "r" * 100)], [("x-request-id", "r" * 101)], [("x-request-id", "r" * 101), ("TraceId", "t")],
        [("x-ms-request-id", "l" * 101)], [("x-ms-client-request-id", "c" * 101)],
        [("x-ms-client-request-id", "c" * 100), ("x-ms-request-id", "l" * 101)],
        [("TraceId", "t")], [("traceid", "")], [("TraceId", "t" * 500)], [("x-request-id", "\xe9\xff")],
        [("x-request-id", "a"), ("x-request-id", "b")], [("TraceId", "a"), ("TraceId", "b")],
        [("x-request-id", "  padded  ")], [("x-ms-request-id", "l"), ("x-request-id", "")],
        [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
    )
] + [
    get("/", ("x-request-id", "r" * 101)), get("/swagger.json", ("x-ms-request-id", "x" * 101)),
    get("/nope", ("x-request-id", "r" * 101)), get("/nope", ("x-request-id", "r")),
    Request("PUT", "/score", (("x-request-id", "r"),)), Request("DELETE", "/", (("TraceId", "r"),)),
    get("/swagger.json?version=9", ("x-request-id", "r")),
]  # fmt: skip
BODIES = [
    post(body, *headers)
    for body in (
        b"", b"{}", b'{"a": 1}', "é€😀", b"\xff\xfe", b"[" * 2000, b"\x00", b"null", b"1", b'"x"', b"[1, 2]",
        b"\xef\xbb\xbf{}", b"NaN", b"x" * 200_000, b" {} ", b'{"a": 1, "a": 2}', b"{", b'{"a":}', b"\xed\xa0\x80",
        json.dumps({"data": 1}).encode("utf-16"), b'{"\xff": 1}',
    )
    for headers in ([], [("Content-Type", "text/plain")])
] + [
    post(b'{"a": 1}', ("Content-Type", kind))
    for kind in (
        "application/json; charset=utf-8", "application/json;charset=latin-1", "APPLICATION/JSON",
        "application/vnd.api+json", "text/json", "application/jsonx", "", ";", "application/octet-stream",
        "application/json, text/plain", "application/x-json", " application/json ; x=y",
    )
] + [
    post(b"a=1&b=%C3%A9&a=2", FORM), post(_MULTIPART_BODY, MULTIPART), post(b"broken", MULTIPART),
    post(b"a=1", ("Content-Type", "multipart/form-data")),
    Request("POST", "/score", (JSON,), b'{"a": 1}', chunked=True),
    Request("POST", "/score", (), b"", chunked=True), Request("POST", "/score"),
    post(b"gz", ("Content-Encoding", "gzip")),
    Request("GET", "/score", (JSON,), b'{"a": 1}'), Request("OPTIONS", "/score", (JSON,), b'{"a": 1}'),
    Request("POST", "/", (JSON,), b"{}"), Request("GET", "/", (), b"ignored"),
]  # fmt: skip
QUERIES = [
    get(f"/score?{query}")
    for query in (
        "a=1", "a=1&a=2&b=x", "a=", "a", "=1", "a=null&b=true&c=[1,2]&d={}", "a=%7B%22x%22%3A1%7D", "a=%ff", "%ff=1",
        "a=1+2", "a=1%2B2", "a=1;b=2", "a=NaN", "a=Infinity", "a=1e400", "&&", "a=1&&b=2", "a=%", "a=%zz", "a=%C3%A9",
        "a==b", "a=%00", "data=[[1,2]]", "data=%22x%22", "name=Ada&tags=[1]", "a=01", "a=%201", "A=1&a=2", "a[]=1",
        "a=%F0%9F%98%80", "a=%ED%A0%80", "a=%22%5Cud800%22", "a=" + "[" * 300, "a=" + "9" * 200,
    )
]  # fmt: skip
CORS = [
    Request(method, target, tuple(headers))
    for method in ("GET", "POST", "OPTIONS", "PUT", "HEAD")
    for target in ("/score", "/", "/nope", "/swagger.json")
    for headers in (
        [], [("Origin", "https://a.example")], [("Origin", "https://A.EXAMPLE")], [("Origin", "https://x.example")],
        [("Origin", "null")], [("Origin", "")],
        [("Origin", "https://b.example"), ("Access-Control-Request-Method", "POST")],
        [
            ("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "x-a, content-type"),
        ],
        [("Origin", "https://a.example"), ("Access-Control-Request-Method", "DELETE")],
        [("Origin", "https://a.example"), ("Access-Control-Request-Method", "get")],
        [("Origin", "https://a.example"), ("x-request-id", "r" * 101)],
    )
]  # fmt: skip
_CELLS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
_ACTIONS = (
    "raw", "json", "loudjson", "jsonify", "jsonify_args", "response", "cookie", "make", "generator", "werkzeug",
    "context", "proxy_args", "g", "abort", "redirect", "aml", "aml_json", "aml_none", "aml_bytes", "aml_500", "aml_503",
    "aml_failed", "aml_404", "aml_204", "ids", "date", "dict", "none", "tuple", "raise", "stream_read", "values",
    "accept",
)  # fmt: skip
_RESULTS = (
    "none", "tuple", "nan", "inf", "true", "text", "surrogate", "empty", "zero", "false", "list", "dict", "big",
    "float",
    "keys", "tuplekey", "set", "bytes", "object", "decimal", "date", "enum", "namedtuple", "ordered", "loop",
    "text_subclass", "json", "bytearray", "complex", "range", "exception", "ndarray", "nested_ndarray", "float64",
    "float32", "int64", "bool_", "str_", "datetime64", "deep", "long", "unknown",
)  # fmt: skip

LISTED: dict[str, list[Request]] = {
    "undecorated": ROUTES + IDS + BODIES + QUERIES + CORS[:22],
    "headers": [
        *IDS, *BODIES[-20:],
        get("/score", ("X-Thing", "a"), ("x-thing", "b"), ("Cookie", "a=1"), ("Cookie", "b=2"), ("X_Under", "1")),
        get("/score", ("x-a-1b-c", "é"), ("X-Empty", ""), ("Accept", "*/*"), ("User-Agent", "x")),
        get("/score", ("Via", "1.1 x"), ("Forwarded", "for=1"), ("X-Forwarded-For", "1.1.1.1"), ("TE", "trailers")),
    ],
    "results": [post(name.encode()) for name in _RESULTS],
    "failing": [
        post(name.encode())
        for name in ("value", "key", "timeout", "stop", "recursion", "memory", "os", "deep", "", "exit")
    ],
    "timeout": [post(b"0"), post(b"1"), post(b"x"), get("/score?a=1")],
    "numpy": [
        *ROUTES[:14], *BODIES, *QUERIES,
        *[
            post(body)
            for body in (
                {"data": [[1, 2]]}, {"data": [[1, 2]], "scale": 3}, {"data": [[1.5, 2]]}, {"data": "x"}, {"data": None},
                {"data": [[1], [2, 3]]}, {"data": []}, {"data": [[1, 2, 3]]}, {"data": 1}, {"scale": 1},
                {"Data": [[1]]},
                {"data": [["1", "2"]]}, {"data": [[1, None]]}, {"data": [[10**30, 1]]}, {"data": [[True, False]]},
                {"data": [[1, 2]], "extra": 1}, {"data": [[1, 2]], "scale": None}, {"data": [[1, 2]], "scale": "x"},
                {"data": {"a": 1}}, {"data": [[0, 1], [2, 3]], "scale": 2.5},
            )
        ],
        get("/score?data=[[1,2]]"), get("/score?data=[[1,2]]&scale=2"), get("/score?scale=2"),
        post(b'{"data": [[NaN, Infinity]]}'),
    ],
    "pandas": [
        *BODIES, *QUERIES, *ROUTES[:14],
        *[
            post({"frame": frame})
            for frame in (
                _CELLS, [], [{"a": 1}], [{"a": "x", "b": "y"}], [{"b": "x", "a": 1}], [{"a": 1, "b": "x", "c": 2}],
                {"columns": ["a", "b"], "data": [[1, "x"]]}, {"columns": ["a", "b"], "index": [7], "data": [[1, "x"]]},
                {"a": [1, 2], "b": ["x", "y"]}, "x", None, 1, [[1, "x"]], [None], [{"a": None, "b": None}],
            )
        ],
    ],
    "standard": [
        *BODIES, *QUERIES, *ROUTES[:14],
        *[
            Request("POST", "/score", (JSON, ("X-Thing", "7")), json.dumps(body).encode())
            for body in (
                {"name": "B"}, {"name": "B", "options": {"shout": False}}, {"name": 1}, {"name": None},
                {"name": "B", "tags": "x"}, {"name": "B", "options": None}, {"options": {}}, {"name": "B", "tags": [1]},
                {"name": "é", "request_headers": {"X-Thing": "spoofed"}}, {"name": "B", "options": {"x": 1}},
            )
        ],
    ],
    "renamed": [
        post({"data": [[1, 2]]}), post({"raw_data": [[1, 2]]}), post({}), get("/swagger.json"),
        get("/swagger.json?version=3"),
    ],
    "raw": [
        *ROUTES, *IDS, *BODIES, *QUERIES,
        *[Request(method, f"/score?do={action}", (JSON,), b'{"a": 1}')
          for action in _ACTIONS for method in ("GET", "POST")],
        *[Request(method, "/score?do=aml", (), None) for method in METHODS],
        *[Request("HEAD", f"/score?do={action}") for action in ("generator", "cookie", "aml_204", "dict", "jsonify")],
        post(b"not json", target="/score?do=loudjson"),
        post(b"{}", ("Content-Type", "text/plain"), target="/score?do=loudjson"),
        post(b"", target="/score?do=json"), get("/score?do=&a=%C3%A9&a=2&b=%ff"),
        get("/score?", ("Cookie", "a=1; b=2")),
        get("/score", ("X-A", "1"), ("X-A", "2"), ("Accept", "text/html;q=0.5, */*"), ("Referer", "/r")),
        get("/score?do=ids", ("x-request-id", "theirs"), ("TraceId", "theirs")),
    ],
    "cors": CORS, "cors_one": CORS, "cors_all": CORS, "cors_pattern": [
        get("/score", ("Origin", origin)) for origin in ("https://x.a.example", "https://x.a.example.evil", "")
    ],
}  # fmt: skip

_TOKENS = st.text("abcXYZ019-._~", min_size=1, max_size=8)
_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TOKENS | st.sampled_from(["data", "name"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_JSON_BODIES = st.one_of(
    _VALUES,
    st.fixed_dictionaries({"data": st.lists(st.lists(st.integers(-5, 5), min_size=2, max_size=2), max_size=3)}),
    st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"tags": _VALUES, "options": _VALUES}),
    st.fixed_dictionaries(
        {"frame": st.lists(st.fixed_dictionaries({"a": st.integers(-9, 9), "b": _TOKENS}), max_size=3)}
    ),
).map(lambda value: json.dumps(value).encode())
_QUERY_CHARACTERS = "abc012=&+%;[]{}\"',:.-_~!$*()/?@"
_QUERIES = st.one_of(
    st.just(""),
    st.text(_QUERY_CHARACTERS, max_size=20),
    st.lists(
        st.tuples(_TOKENS, _VALUES.map(json.dumps).map(lambda t: "".join(f"%{b:02x}" for b in t.encode()))), max_size=3
    ).map(lambda pairs: "&".join(f"{key}={value}" for key, value in pairs)),
)
_PATHS = st.one_of(
    st.sampled_from(["/score"] * 12 + ["/", "/swagger.json", "/score/", "/%73core"]),
    st.text("abcscore/.%20-_~:@!$&'()*+,;=", max_size=10).map(lambda text: f"/{text}"),
)
_HEADERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["x-request-id", "x-ms-request-id", "x-ms-client-request-id", "TraceId"]), _TEXT),
        st.tuples(
            st.just("Content-Type"),
            st.sampled_from(
                ["application/json"] * 4 + ["text/plain", "application/json; charset=x", "a/b+json", "", FORM[1]]
            ),
        ),
        st.tuples(st.just("Origin"), st.sampled_from(["https://a.example", "https://b.example", "null", "*"])),
        st.tuples(st.sampled_from(["Accept", "X-Anything", "User-Agent", "Cookie", "Accept-Encoding", "X-A_b"]), _TEXT),
    ),
    max_size=4,
    unique_by=lambda header: header[0],
).map(tuple)
GENERATED = st.builds(
    lambda method, path, query, headers, body, chunked: Request(
        method, path + (f"?{query}" if query else ""), headers, body if method not in ("GET", "HEAD") else None,
        chunked=chunked and method not in ("GET", "HEAD"),
    ),
    st.sampled_from(("POST",) * 8 + ("GET",) * 5 + METHODS),
    _PATHS,
    _QUERIES,
    _HEADERS,
    _JSON_BODIES | st.binary(max_size=30) | st.text(max_size=20).map(str.encode),
    st.booleans(),
)  # fmt: skip
