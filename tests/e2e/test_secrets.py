"""No secret is left anywhere it does not belong: in no file, no page of the database, no dump, and nothing printed."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import sqlite3
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.store.vault import Vault
from tests.e2e.files import serve
from tests.e2e.platform import Platform, new_platform, remove
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(600)

PLANTED = "planted-Kq7vZ2mXw9Rt4LbN8sHd3FgJ"
FILES_OF_SECRETS = {
    "admin_token": {"admin token"},
    "master.key": {"master key"},
    "tls/key.pem": {"TLS key"},
    "tls/ca-key.pem": {"TLS key of the authority"},
}
"""Where a secret lies in clear by design, with mode 0600, and which."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """With TLS, and with everything logged that is ever logged. ``keyed`` takes keys, ``signed`` takes tokens."""
    platform, folder = new_platform(), tmp_path_factory.mktemp("secrets")
    platform.environment = {"PENSTOCK_LOG_LEVEL": "debug"}
    platform.flags = ("--tls-dev", "--tls-port", str(free_port()))
    try:
        platform.start()
        serve(platform, folder, "signed", "blue", auth_mode="aml_token")
        serve(platform, folder, "keyed", "blue")
        yield platform
    finally:
        platform.destroy()
        remove(platform)


@pytest.fixture(scope="module")
def used(served: Platform) -> dict[str, list[bytes]]:
    """Secrets by name, in each form they are likely to be written in; every one was used, also where it is wrong."""
    served.cli("online-endpoint", "regenerate-keys", "-n", "keyed", "--key-value", PLANTED)
    served.until(lambda: ask(served, "keyed", PLANTED) == 200)
    other = str(served.json("online-endpoint", "get-credentials", "-n", "keyed")["secondaryKey"])
    token = served.token("signed")
    for endpoint in ("keyed", "signed", "nosuch"):
        for credential in (PLANTED, other, token):
            ask(served, endpoint, credential)
            ask(served, endpoint, credential, scheme="Basic")
            ask(served, endpoint, None, f"score?access_token={credential}")
            served.score(endpoint, {}, key=credential)  # over plain HTTP: sent away
    served.cli("online-endpoint", "regenerate-keys", "-n", "keyed", "--key-type", "secondary")
    served.cli("online-endpoint", "regenerate-keys", "-n", "keyed", "--key-value", "too short", check=False)
    served.cli("gateway", "restart")
    home = served.home
    return {
        "key": [PLANTED.encode(), base64.b64encode(PLANTED.encode())],
        "other key": [other.encode()],
        "token": [token.rpartition(".")[2].encode()],
        "signing key": private_parts(home),
        "admin token": [(home / "admin_token").read_bytes().strip()],
        "master key": [(home / "master.key").read_bytes(), base64.b64encode((home / "master.key").read_bytes())],
        "TLS key": pem_lines(home / "tls" / "key.pem"),
        "TLS key of the authority": pem_lines(home / "tls" / "ca-key.pem"),
    }


def test_no_secret_is_left_anywhere(served: Platform, used: dict[str, list[bytes]]) -> None:
    found: dict[str, set[str]] = {}
    for name, content in everything(served).items():
        for secret, forms in used.items():
            if any(form in content for form in forms):
                found.setdefault(name, set()).add(secret)
    assert found == FILES_OF_SECRETS
    for name in FILES_OF_SECRETS:
        assert (served.home / name).stat().st_mode & 0o777 == 0o600, name


def test_the_search_looks_where_a_secret_could_be(served: Platform, used: dict[str, list[bytes]]) -> None:
    """What is derived from a secret is where it should be: so a secret there would have been found."""
    contents = everything(served)
    (salted,) = {row[0] for row in query(served.home, "SELECT salt FROM endpoints WHERE name = 'keyed'")}
    assert any(name.startswith("penstock.db") and salted.encode() in content for name, content in contents.items())
    digest = hashlib.sha256(PLANTED.encode()).hexdigest().encode()
    chain = pem_lines(served.home / "tls" / "cert.pem")[0]
    assert digest in contents["config dump"]
    assert digest in contents["gateway/snapshot"]
    assert chain not in contents["gateway/snapshot"]  # sealed with its key
    for log in ("logs/gateway-access.log", "gateway/log", "printed"):
        assert contents[log], log
    assert b"keyed" in contents["logs/gateway-access.log"]
    assert any(name.startswith("instances/") and name.endswith("log") for name in contents)
    for shown in ("status", "gateway config", "metrics page"):
        assert b"keyed" in contents[shown], shown


def private_parts(home: Path) -> list[bytes]:
    """Every signing key's private number, as text, as bytes and as hex."""
    vault = Vault(home / "master.key")
    found: list[bytes] = []
    for kid, sealed in query(home, "SELECT kid, sealed FROM signing_keys"):
        # Columns as sqlite3 gives them, of any type.
        text = vault.open("token-signing", str(kid), bytes(sealed))  # type: ignore[arg-type]
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        found += [text.encode(), raw, raw.hex().encode(), base64.b64encode(raw)[:40]]
    assert found
    return found


def pem_lines(file: Path) -> list[bytes]:
    """Lines between the marks that are this file's alone: the first are what any key of the kind begins with."""
    lines = file.read_bytes().splitlines()[1:-1]
    raw = base64.b64decode(b"".join(lines))
    return [*lines[1:], raw[-40:], raw[-40:].hex().encode()]


def query(home: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(home / "penstock.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def everything(platform: Platform) -> dict[str, bytes]:
    """Contents by name. Environments hold packages alone; uv writes them."""
    shown = {
        "status": ("status",),
        "gateway config": ("gateway", "config", "-e", "keyed"),
        "endpoint": ("online-endpoint", "show", "-n", "keyed"),
        "deployment": ("online-deployment", "show", "-n", "blue", "-e", "keyed"),
        "logs of an instance": ("online-deployment", "get-logs", "-n", "blue", "-e", "keyed"),
    }
    found = {name: platform.cli(*command).stdout.encode() for name, command in shown.items()}
    with urllib.request.urlopen(f"http://127.0.0.1:{platform.metrics_port}/metrics", timeout=10) as answer:
        found["metrics page"] = answer.read()
    found["printed"] = (platform.home.parent / "up.log").read_bytes()
    found["config dump"] = admin(platform.home, "/config_dump?include_eds")
    found["certificates"] = admin(platform.home, "/certs")
    for path in platform.home.rglob("*"):
        inside = path.relative_to(platform.home)
        if path.is_file() and inside.parts[0] != "environments":
            found[str(inside)] = path.read_bytes()
    return found


def admin(home: Path, path: str) -> bytes:
    class Admin(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(home / "run" / "envoy-admin.sock"))

    connection = Admin("admin")
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def ask(
    platform: Platform, endpoint: str, credential: str | None, path: str = "score", *, scheme: str = "Bearer"
) -> int:
    context = ssl.create_default_context(cafile=str(platform.home / "tls" / "ca.pem"))
    connection = http.client.HTTPSConnection("localhost", int(str(platform.flags[-1])), context=context, timeout=30)
    headers = {"authorization": f"{scheme} {credential}"} if credential else {}
    try:
        connection.request("POST", f"/endpoints/{endpoint}/{path}", b"{}", headers)
        return connection.getresponse().status
    finally:
        connection.close()
