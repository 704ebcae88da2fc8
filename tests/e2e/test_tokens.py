"""Endpoints with tokens, as a user meets them."""

from __future__ import annotations

import base64
import json
import re
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from tests.e2e.files import serve, written
from tests.e2e.platform import Platform

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def served(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Endpoint ``signed`` takes tokens; so does ``other``, which serves nothing."""
    folder = tmp_path_factory.mktemp("tokens")
    serve(platform, folder, "signed", "blue", auth_mode="aml_token")
    platform.cli("online-endpoint", "create", "-n", "other", "--auth-mode", "aml_token")
    return platform


def test_credentials_are_a_token_with_its_times(served: Platform) -> None:
    shown = served.json("online-endpoint", "get-credentials", "-n", "signed")
    assert set(shown) == {"accessToken", "expiryTimeUtc", "refreshAfterTimeUtc", "tokenType"}
    claims = payload(shown["accessToken"])
    assert shown["tokenType"] == "Bearer"
    assert shown["expiryTimeUtc"] == claims["exp"] == claims["iat"] + 3600
    assert time.time() < shown["refreshAfterTimeUtc"] < shown["expiryTimeUtc"]
    assert (claims["endpoint"], claims["aud"]) == ("signed", "penstock-scoring")


def test_a_token_opens_its_endpoint_alone(served: Platform) -> None:
    token = served.token("signed")
    assert served.score("signed", {}, key=token).json()["deployment"] == "blue"
    for wrong in (None, served.token("other"), token[:-6] + "AAAAAA", "x" * 43):
        answer = served.score("signed", {}, key=wrong)
        assert (answer.status, answer.json()["error"]["code"]) == (401, "Unauthorized")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="penstock"')


def test_invoke_needs_no_credential_of_its_own(served: Platform, tmp_path: Path) -> None:
    request = written(tmp_path / "request.json", "{}")
    answer = served.cli("online-endpoint", "invoke", "-n", "signed", "--request-file", request)
    assert json.loads(answer.stdout)["deployment"] == "blue"


def test_an_instance_reached_directly_asks_too(served: Platform) -> None:
    token = served.token("signed")
    assert direct(served, "signed", token) == 200
    for wrong in ("", served.token("other"), token[:-6] + "AAAAAA"):
        assert direct(served, "signed", wrong) == 401


def test_revocation_is_effective_within_a_second(served: Platform) -> None:
    old = served.token("signed")
    assert served.score("signed", {}, key=old).status == 200
    shown = served.json("online-endpoint", "regenerate-keys", "-n", "signed")
    revoked = time.monotonic()
    new = shown["accessToken"]
    served.until(lambda: served.score("signed", {}, key=old).status == 401, seconds=1.0)
    served.until(lambda: direct(served, "signed", old) == 401, seconds=max(0.1, 1.0 - (time.monotonic() - revoked)))
    assert served.score("signed", {}, key=new).status == 200
    assert direct(served, "signed", new) == 200


def test_a_token_of_a_deleted_endpoint_does_not_open_its_successor(served: Platform) -> None:
    served.cli("online-endpoint", "create", "-n", "again", "--auth-mode", "aml_token")
    token = served.token("again")
    assert served.score("again", {}, key=token).status == 404  # nothing serves, but it is let in
    served.cli("online-endpoint", "delete", "-n", "again", "--yes")
    served.cli("online-endpoint", "create", "-n", "again", "--auth-mode", "aml_token")
    # Envoy acknowledges a change a moment before each of its threads goes by it.
    served.until(lambda: served.score("again", {}, key=token).status == 401, seconds=1.0)
    assert served.score("again", {}, key=served.token("again")).status == 404


def test_tokens_outlive_a_killed_control_plane(fresh_platform: Platform, tmp_path: Path) -> None:
    platform = fresh_platform
    platform.start()
    token = serve(platform, tmp_path, "lasting", "blue", auth_mode="aml_token")
    platform.kill()
    assert platform.score("lasting", {}, key=token).status == 200
    platform.start()
    for each in (token, platform.token("lasting")):
        assert platform.score("lasting", {}, key=each).status == 200


@pytest.mark.slow
def test_signing_keys_rotate_and_every_token_works_to_its_end(fresh_platform: Platform, tmp_path: Path) -> None:
    """The real schedule, as fast as it may be set: a key signs for a minute, a token lives for one."""
    platform = fresh_platform
    platform.environment = {"PENSTOCK_SIGNING_KEY_SECONDS": "60", "PENSTOCK_TOKEN_LIFETIME_SECONDS": "60"}
    platform.start()
    serve(platform, tmp_path, "signed", "blue", auth_mode="aml_token")
    begun, held, signed_by, known = time.monotonic(), [], [], []
    while time.monotonic() - begun < 200:
        held.append(platform.token("signed"))
        signed_by.append(key_id(held[-1]))
        held = [token for token in held if int(str(payload(token)["exp"])) > time.time() + 5]
        for token in held:
            assert platform.score("signed", {}, key=token).status == 200
            assert direct(platform, "signed", token) == 200
        known.append(len(query(platform.home, "SELECT kid FROM signing_keys")))
        time.sleep(3)
    kids = list(dict.fromkeys(signed_by))
    assert len(kids) >= 3
    assert max(known) <= 3
    left = {str(row[0]) for row in query(platform.home, "SELECT kid FROM signing_keys")}
    assert kids[0] not in left  # gone, once the last token it signed had expired


def payload(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def key_id(token: str) -> str:
    head = token.split(".", maxsplit=1)[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


def query(home: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(home / "penstock.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def direct(platform: Platform, endpoint: str, token: str) -> int:
    """The status that an instance of the endpoint answers on its own socket."""
    manifests = (json.loads(path.read_bytes()) for path in platform.home.glob("instances/*/instance.json"))
    path = next(manifest["socket"] for manifest in manifests if manifest["endpoint"] == endpoint)
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(path)
        credential = f"Authorization: Bearer {token}\r\n" if token else ""
        link.sendall(f"POST /score HTTP/1.1\r\nHost: x\r\n{credential}Content-Length: 2\r\n\r\n{{}}".encode())
        match = re.match(rb"HTTP/1\.1 (\d+)", link.recv(1000))
        assert match is not None
        return int(match.group(1))
