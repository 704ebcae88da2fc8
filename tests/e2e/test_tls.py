"""TLS as an operator sets it up: by a development certificate, by files, and by new files while requests run."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.dev_certificate import DevCertificate
from tests.e2e.files import serve, written
from tests.e2e.platform import Platform
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(600)


def made(folder: Path, now: datetime | None = None) -> DevCertificate:
    files = DevCertificate(folder)
    files.ensure(("localhost", "127.0.0.1"), now or datetime.now(UTC))
    return files


def ask(port: int, key: str, authority: Path) -> int:
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/endpoints/safe/score", b"{}", headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_development_certificate_by_one_flag(fresh_platform: Platform, tmp_path: Path) -> None:
    platform, port = fresh_platform, free_port()
    platform.flags = ("--tls-dev", "--tls-port", str(port))
    platform.start()
    key = serve(platform, tmp_path, "safe", "blue")
    shown = platform.json("online-endpoint", "show", "-n", "safe")
    assert shown["scoring_uri"] == f"https://localhost:{port}/endpoints/safe/score"
    authority = platform.home / "tls" / "ca.pem"
    assert ask(port, key, authority) == 200
    plain = platform.score("safe", {}, key=key)
    assert (plain.status, plain.headers["location"]) == (308, f"https://127.0.0.1:{port}/endpoints/safe/score")
    # The command line trusts it, and nobody else does.
    request = written(tmp_path / "request.json", "{}")
    answer = platform.cli("online-endpoint", "invoke", "-n", "safe", "--request-file", request)
    assert json.loads(answer.stdout)["deployment"] == "blue"
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection(("127.0.0.1", port)) as link:
        ssl.create_default_context().wrap_socket(link, server_hostname="localhost")

    # Its successor shows the same, to the Envoy that went on serving meanwhile.
    platform.kill()
    assert ask(port, key, authority) == 200
    platform.start()
    assert ask(port, key, authority) == 200


def test_files_of_ones_own_are_replaced_under_load(fresh_platform: Platform, tmp_path: Path) -> None:
    platform, port = fresh_platform, free_port()
    used = made(tmp_path / "used")
    platform.flags = ("--tls-cert", used.chain, "--tls-key", used.key, "--tls-port", str(port))
    platform.start()
    key = serve(platform, tmp_path, "safe", "blue")
    first = shutil.copy(used.authority, tmp_path / "first.pem")
    load = Steady(port, key, first)
    load.start()
    for number in range(3):
        newer = made(tmp_path / f"newer-{number}")
        for name in ("cert.pem", "key.pem"):
            shutil.copy(newer.folder / name, used.folder / name)
        platform.until(lambda newer=newer: trusts(port, newer.authority))
    used.chain.write_text("broken")
    platform.until(lambda: "the new certificate cannot be used" in platform.log())
    assert "cert.pem holds no certificate in PEM" in platform.log()
    (problem,) = platform.json("status")["problems"]
    assert problem.startswith("The new certificate cannot be used, the present one stays: ")
    assert problem.endswith("cert.pem holds no certificate in PEM.")
    assert ask(port, key, newer.authority) == 200
    shutil.copy(newer.chain, used.chain)
    platform.until(lambda: platform.json("status")["problems"] == [])
    assert load.end() == {200}
    assert load.sent > 50


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("missing", "cert.pem cannot be read: No such file or directory"),
        ("mismatched", "key.pem is not the key of the certificate in"),
        ("expired", "expired on"),
    ],
)
def test_files_that_cannot_be_used_stop_nothing(
    fresh_platform: Platform, tmp_path: Path, how: str, sentence: str
) -> None:
    platform, port = fresh_platform, free_port()
    used = made(tmp_path / "used")
    platform.flags = ("--tls-cert", used.chain, "--tls-key", used.key, "--tls-port", str(port))
    platform.start()
    platform.cli("online-endpoint", "create", "-n", "safe")
    key = platform.key("safe")
    platform.kill()
    match how:
        case "missing":
            used.chain.unlink()
        case "mismatched":
            shutil.copy(made(tmp_path / "other").key, used.key)
        case "expired":
            shutil.rmtree(used.folder)
            made(used.folder, datetime.now(UTC) - timedelta(days=200))
    refused = platform.cli(*platform.up_command()[1:], "--detach", check=False)
    assert refused.returncode == 1
    (line,) = [each for each in refused.stderr.splitlines() if each.startswith("error:")]
    assert sentence in line
    assert ask_status_only(port, key) == 404  # Envoy goes on: the endpoint has no deployment


def test_flags_that_contradict_each_other(fresh_platform: Platform, tmp_path: Path) -> None:
    for flags in (["--tls-cert", "a.pem"], ["--tls-key", "b.pem"], ["--tls-dev", "--tls-cert", "a.pem"]):
        ran = fresh_platform.cli("up", "--detach", *flags, check=False)
        assert ran.returncode == 2
        assert ran.stderr.startswith("error: --tls-")


def trusts(port: int, authority: Path) -> bool:
    """Whether what is shown now was signed by ``authority``."""
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection(("127.0.0.1", port)) as link,
            context.wrap_socket(link, server_hostname="localhost"),
        ):
            return True
    except ssl.SSLError:
        return False
    return True


def ask_status_only(port: int, key: str) -> int:
    """Whatever the certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
    try:
        connection.request("POST", "/endpoints/safe/score", b"{}", {"authorization": f"Bearer {key}"})
        return connection.getresponse().status
    finally:
        connection.close()


class Steady:
    """One client that keeps its connection, and must never need another."""

    def __init__(self, port: int, key: str, authority: Path) -> None:
        self.sent = 0
        self._statuses: set[int] = set()
        self._ended = threading.Event()
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._connection = http.client.HTTPSConnection(
            "localhost", port, context=ssl.create_default_context(cafile=str(authority)), timeout=30
        )
        self._connection.connect()
        self._connection.auto_open = 0
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> set[int]:
        self._ended.set()
        self._thread.join()
        self._connection.close()
        return self._statuses

    def _run(self) -> None:
        while not self._ended.is_set():
            self._connection.request("POST", "/endpoints/safe/score", b"{}", self._headers)
            answer = self._connection.getresponse()
            answer.read()
            self._statuses.add(answer.status)
            self.sent += 1
