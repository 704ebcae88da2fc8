"""TLS on the scorer's port: who is let in, what stops the start, and how a renewed certificate is taken up."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from penstock_scorer.configuration import resolve
from penstock_scorer.errors import SettingsError

SCRIPT = """
    import time
    def init(): pass
    def run(data):
        time.sleep(float(data or 0) if not isinstance(data, dict) else 0)
        return "said"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Secure:
    """A server on a port, with ``papers``."""

    def __init__(self, serve: Callable, papers, *more: str, age: timedelta = timedelta(0)) -> None:
        self.papers = papers
        self.port = free_port()
        self.caller = papers.file("caller", calls=True)
        self.cert = papers.file("first", to="shown.pem", age=age)
        self.server = serve(
            SCRIPT, "--port", str(self.port), "--tls_cert", str(self.cert), "--tls_key", str(self.cert),
            "--tls_client_ca", str(papers.ca), *more, ready=False,
        )  # fmt: skip
        end = time.monotonic() + 20
        while self.status() != 200:
            assert self.server.process.poll() is None, self.server.err.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def connection(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "localhost", self.port, context=context or self.papers.client(self.caller), timeout=20
        )

    def status(self, context: ssl.SSLContext | None = None) -> int | None:
        """The status of one request; None when there is no connection."""
        connection = self.connection(context)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def shown(self) -> str:
        """The name in the certificate shown now; empty when the listener went in the midst of the handshake."""
        with socket.create_connection(("localhost", self.port), 20) as link:
            try:
                with self.papers.client(self.caller).wrap_socket(link, server_hostname="localhost") as secure:
                    return secure.getpeercert()["subject"][0][0][1]
            except (ssl.SSLEOFError, ConnectionResetError):
                return ""


@pytest.fixture
def secure(serve: Callable, papers) -> Secure:
    return Secure(serve, papers)


def test_who_is_let_in(secure: Secure, papers, foreign) -> None:
    assert secure.status() == 200
    assert secure.status(papers.client(None)) is None
    assert secure.status(papers.client(foreign.file("caller", calls=True))) is None
    assert secure.status(papers.client(papers.file("old", calls=True, age=timedelta(days=2)))) is None
    # Another instance's certificate is good for answering alone.
    assert secure.status(papers.client(papers.file("other"))) is None
    # And a caller does not take a server of another authority.
    assert secure.status(foreign.client(secure.caller)) is None
    plain = http.client.HTTPConnection("localhost", secure.port, timeout=20)
    plain.request("GET", "/")
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.getresponse()
    plain.close()


def test_older_protocols_are_refused(secure: Secure, papers) -> None:
    context = papers.client(secure.caller)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert secure.status(context) is None


def test_a_renewed_certificate_is_shown_and_no_request_fails(serve: Callable, papers) -> None:
    secure = Secure(serve, papers, "--worker_count", "2")
    load = [Steady(secure) for _ in range(4)]
    for each in load:
        each.start()
    slow = secure.connection()
    slow.request("POST", "/score", "3", {"content-type": "application/json"})
    for number in range(3):
        papers.file(f"renewed-{number}", to="shown.pem")
        # Both workers, and not one of those that leave.
        wait(lambda number=number: [secure.shown() for _ in range(8)].count(f"renewed-{number}") > 0)
        time.sleep(0.3)  # for load to go to both, the leaving one included
    answer = slow.getresponse()
    assert (answer.status, answer.read()) == (200, b'"said"')
    slow.close()
    assert sum(each.end() for each in load) > 100
    assert [each.failures for each in load] == [[]] * 4
    # They were sent on to the newer one by what they were answered, none was cut.
    assert all(1 < each.opened < each.sent for each in load)
    assert secure.server.stop() == 0


def test_those_that_leave_are_gone_before_their_certificate_expires(serve: Callable, papers) -> None:
    # Six seconds are left of each, so that one goes three after it has been replaced.
    age = timedelta(days=1) - timedelta(seconds=6)
    secure = Secure(serve, papers, age=age)
    idle = secure.connection()
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"Healthy"
    load = Steady(secure)
    load.start()
    for number in range(3):
        papers.file(f"renewed-{number}", to="shown.pem", age=age)
        wait(lambda number=number: {secure.shown() for _ in range(8)} == {f"renewed-{number}"})
    assert load.end() > 100
    assert load.failures == []
    # Nobody had used it any more.
    assert idle.sock is not None
    assert idle.sock.recv(1) == b""
    idle.close()
    assert secure.server.stop() == 0
    assert "panicked" not in secure.server.err.read_text()


def test_files_that_cannot_be_used_change_nothing(secure: Secure, papers) -> None:
    good = secure.cert.read_bytes()
    secure.cert.write_bytes(b"broken")
    wait(lambda: "the present one stays" in secure.server.err.read_text())
    said = secure.server.err.read_text()
    assert "are no certificate and its key in PEM" in said
    assert "Traceback" not in said
    assert secure.shown() == "first"
    papers.file("old", to="shown.pem", age=timedelta(days=2))
    wait(lambda: "expired on" in secure.server.err.read_text())
    assert secure.shown() == "first"
    secure.cert.unlink()
    wait(lambda: "cannot be read" in secure.server.err.read_text())
    assert secure.shown() == "first"
    secure.cert.write_bytes(good)
    papers.file("second", to="shown.pem")
    wait(lambda: secure.shown() == "second")


def test_grpc_asks_too_and_shows_what_is_renewed(serve: Callable, papers, foreign) -> None:
    grpc = pytest.importorskip("grpc")
    port = free_port()
    secure = Secure(serve, papers, "--grpc_port", str(port))
    ca = papers.ca.read_bytes()

    def live(file: Path | None) -> str:
        held = file.read_bytes() if file else b""
        at = held.find(b"-----BEGIN PRIVATE")
        pair = (held[at:], held[:at]) if file else ()
        with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(ca, *pair)) as channel:
            try:
                channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
            except grpc.RpcError as error:
                return error.code().name
        return "OK"

    assert live(secure.caller) == "OK"
    assert live(None) == "UNAVAILABLE"
    assert live(papers.file("other")) == "UNAVAILABLE"
    assert live(foreign.file("caller", calls=True)) == "UNAVAILABLE"
    papers.file("renewed", to="shown.pem")
    shown = ssl.create_default_context(cafile=str(papers.ca))
    shown.load_cert_chain(secure.caller)
    with socket.create_connection(("localhost", port)) as link:
        shown.set_alpn_protocols(["h2"])
        with shown.wrap_socket(link, server_hostname="localhost") as open_:
            assert open_.getpeercert()["subject"][0][0][1] == "renewed"
    assert live(secure.caller) == "OK"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"tls_cert": "good"}, "belong together"),
        ({"tls_cert": "good", "tls_key": "good", "tls_client_ca": "none"}, "none (--tls_client_ca) cannot be read"),
        ({"tls_cert": "none", "tls_key": "good", "tls_client_ca": "ca"}, "none (--tls_cert) cannot be read"),
        ({"tls_cert": "good", "tls_key": "other", "tls_client_ca": "ca"}, "are no certificate and its key in PEM"),
        ({"tls_cert": "good", "tls_key": "good", "tls_client_ca": "junk"}, "holds no certificate in PEM"),
        ({"tls_cert": "junk", "tls_key": "junk", "tls_client_ca": "ca"}, "are no certificate and its key in PEM"),
        ({"tls_cert": "old", "tls_key": "old", "tls_client_ca": "ca"}, "expired on"),
        ({"tls_cert": "good", "tls_key": "good", "tls_client_ca": "ca", "uds": "s"}, "guarded by its mode"),
    ],
)
def test_what_stops_the_start(papers, tmp_path: Path, flags: dict[str, str], sentence: str) -> None:
    junk = papers.folder / "junk"
    junk.write_text("junk")
    files = {
        "good": papers.file("good"), "other": papers.file("other"), "ca": papers.ca, "junk": junk,
        "old": papers.file("old", age=timedelta(days=2)), "none": papers.folder / "none", "s": tmp_path / "s",
    }  # fmt: skip
    with pytest.raises(SettingsError) as caught:
        resolve({"entry_script": "s.py", **{flag: str(files[file]) for flag, file in flags.items()}}, {}, tmp_path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def wait(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Steady(threading.Thread):
    """A client that connects anew when it was told that the connection closes, or when a handshake broke off."""

    def __init__(self, secure: Secure) -> None:
        super().__init__()
        self.sent = self.opened = 0
        self.failures: list[str] = []
        self._secure = secure
        self._ended = threading.Event()

    def end(self) -> int:
        self._ended.set()
        self.join()
        return self.sent

    def run(self) -> None:
        connection = None
        while not self._ended.is_set():
            try:
                if connection is None:
                    connection = self._connected()
                connection.request("POST", "/score", "0", {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.sent += 1
                if answer.status != 200:
                    self.failures.append(str(answer.status))
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
        if connection is not None:
            connection.close()

    def _connected(self) -> http.client.HTTPSConnection:
        for _ in range(3):
            connection = self._secure.connection()
            try:
                connection.connect()
            except (ssl.SSLEOFError, ConnectionResetError):
                connection.close()
            else:
                self.opened += 1
                return connection
        raise ConnectionError("three handshakes in a row broke off")
