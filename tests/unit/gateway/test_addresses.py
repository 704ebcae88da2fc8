from __future__ import annotations

import pytest

from gateway.addresses import TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
        ("127.0.0.1:5001", TcpAddress("127.0.0.1", 5001)),
        ("[::1]:5001", TcpAddress("::1", 5001)),
        ("tls://127.0.0.1:5001", TcpAddress("127.0.0.1", 5001, mutual_tls=True)),
        ("tls://[::1]:5001", TcpAddress("::1", 5001, mutual_tls=True)),
    ],
)
def test_reads(text: str, expected: object) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix://relative",
        "localhost:80",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "1.2.3:80",
        "tls://localhost:80",
        "tls://unix:///x",
        "unix:///" + "x" * 120,
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r".+\."):
        parse_address(text)


@pytest.mark.parametrize("text", ["", "unix:///" + "x" * 120])
def test_refuses_nothing_and_too_much(text: str) -> None:
    with pytest.raises(ValueError, match=r".+\."):
        parse_address(text)
