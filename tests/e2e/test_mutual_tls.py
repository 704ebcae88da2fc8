"""Mutual TLS as an operator sets it up: instances at ports, a gateway on "another machine", certificates that renew."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from gateway.envoy import find_envoy
from tests.e2e.files import deployment_yaml, endpoint_yaml, serve
from tests.e2e.grpc_load import SCORE, load
from tests.e2e.load import Load, aim
from tests.e2e.platform import Platform, free_port

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def platform(fresh_platform: Platform) -> Platform:
    """With instances at ports and certificates of 10 s, which are renewed after 5."""
    fresh_platform.flags = ("--instance-host", "127.0.0.1")
    fresh_platform.environment = {"PENSTOCK_CERTIFICATE_SECONDS": "10"}
    return fresh_platform


@contextlib.contextmanager
def gateway_elsewhere(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Envoy in an enrolled gateway's folder, with nothing but what is in it."""
    with (folder / "log").open("ab") as log:
        argv = [str(find_envoy()), "-c", "bootstrap.json", "--disable-hot-restart", "--concurrency", "1"]
        envoy = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)
    try:
        yield envoy
    finally:
        envoy.kill()
        envoy.wait()


def address(platform: Platform) -> tuple[str, int]:
    """Where the only instance answers."""
    (instance,) = platform.client().deployments.instances()
    assert instance.address.startswith("tls://")
    host, _, port = instance.address.removeprefix("tls://").rpartition(":")
    return host, int(port)


def shown(platform: Platform) -> bytes:
    """The certificate the instance shows; we show that of an instance, which it does not take afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(platform.home / "pki" / "ca.pem")
    with socket.create_connection(address(platform)) as link, context.wrap_socket(link) as secure:
        return secure.getpeercert(binary_form=True) or b""


def test_instances_at_ports_and_certificates_that_renew_under_load(platform: Platform, tmp_path: Path) -> None:
    platform.start()
    key = serve(platform, tmp_path, "safe", "blue")
    assert platform.score("safe", {}, key=key).status == 200
    where = address(platform)

    # Who has the key and no certificate is refused all the same.
    plain = http.client.HTTPConnection(*where, timeout=10)
    plain.request("POST", "/score", b"{}", {"authorization": f"Bearer {key}"})
    with pytest.raises((OSError, http.client.HTTPException)):
        plain.getresponse()
    plain.close()
    context = ssl.create_default_context(cafile=str(platform.home / "pki" / "ca.pem"))
    context.check_hostname = False
    (own,) = (platform.home / "instances").glob("*/tls.pem")
    for certificate in (None, own):  # an instance's own is good for answering alone
        if certificate is not None:
            context.load_cert_chain(certificate)
        secure = http.client.HTTPSConnection(*where, context=context, timeout=10)
        with pytest.raises(OSError):  # noqa: PT011 - the connection ends, one way or another
            _ask(secure, key)
        secure.close()

    # While one leaves, each of two certificates may be shown.
    seen = {shown(platform)}
    with Load(aim(platform.gateway_port, "safe", key), rate=200) as load:
        platform.until(lambda: seen.add(shown(platform)) or len(seen) == 4, 60)
    assert load.tally.failures == []
    assert load.tally.sent > 1000
    (instance,) = platform.client().deployments.instances()
    pid = instance.pid

    # A control plane that is killed finds it again, and goes on renewing.
    platform.kill()
    platform.start()
    platform.until(lambda: shown(platform) not in seen)
    assert platform.score("safe", {}, key=key).status == 200
    (instance,) = platform.client().deployments.instances()
    assert (instance.pid, address(platform)) == (pid, where)


def _ask(connection: http.client.HTTPSConnection, key: str) -> None:
    connection.request("POST", "/score", b"{}", {"authorization": f"Bearer {key}"})
    connection.getresponse()


def test_grpc_at_a_port_while_certificates_renew(platform: Platform, tmp_path: Path) -> None:
    platform.start()
    platform.cli("online-endpoint", "create", "-f", endpoint_yaml(tmp_path, "safe"))
    made = deployment_yaml(tmp_path, "safe", "blue", score=SCORE, variables={"WORKER_COUNT": "2"})
    platform.cli("online-deployment", "create", "-f", made, "--all-traffic")
    key = platform.key("safe")
    seen = {shown(platform)}
    with load(platform.gateway_port, "safe", key) as tally:
        platform.until(lambda: seen.add(shown(platform)) or len(seen) == 3, 60)
    assert tally.failures == []
    assert tally.sent > 200
    (ports,) = (
        json.loads(path.read_text())["grpc_address"] for path in (platform.home / "instances").glob("*/instance.json")
    )
    with grpc.insecure_channel(ports) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_from_sockets_to_ports_and_back(fresh_platform: Platform, tmp_path: Path) -> None:
    platform = fresh_platform
    platform.start()
    key = serve(platform, tmp_path, "safe", "blue")
    (instance,) = platform.client().deployments.instances()
    for flags, kind in ((("--instance-host", "127.0.0.1"), "tls://"), ((), "unix://")):
        platform.kill()
        platform.flags = flags
        platform.start()
        # What runs goes on as it is; what is made from now on is made so.
        assert platform.score("safe", {}, key=key).status == 200
        former = {each.name for each in platform.client().deployments.instances()}
        platform.cli(
            "online-deployment", "update", "-n", "blue", "-e", "safe", "--set", "environment_variables.X=" + kind
        )
        platform.until(
            lambda former=former: not former & {each.name for each in platform.client().deployments.instances()}
        )
        (instance,) = platform.client().deployments.instances()
        assert instance.address.startswith(kind)
        assert platform.score("safe", {}, key=key).status == 200


def test_a_gateway_on_another_machine(platform: Platform, tmp_path: Path) -> None:
    ads, port = free_port(), free_port()
    platform.environment = {}
    platform.flags = (*platform.flags, "--ads-address", f"127.0.0.1:{ads}")
    platform.start()
    key = serve(platform, tmp_path, "safe", "blue")
    folder = tmp_path / "edge"
    enroll = ("gateway", "enroll", "edge", "-d", folder, "--listen", f"127.0.0.1:{port}")
    told = platform.json(*enroll)
    assert told["directory"] == str(folder)
    assert {each.name for each in folder.iterdir()} == {"bootstrap.json", "identity.json", "identity.pem", "ca.pem"}
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
    with gateway_elsewhere(folder):
        platform.until(lambda: _status(port, key) == 200)
        assert _status(port, "wrong") == 401
        names = [each["name"] for each in platform.json("gateway", "config")]
        assert sorted(names) == ["edge", "gateway"]
        # What it shows to the control plane opens no instance: it outlives what gateways show there.
        context = ssl.create_default_context(cafile=str(platform.home / "pki" / "ca.pem"))
        context.check_hostname = False
        context.load_cert_chain(folder / "identity.pem")
        secure = http.client.HTTPSConnection(*address(platform), context=context, timeout=10)
        with pytest.raises(OSError):  # noqa: PT011 - the connection ends, one way or another
            _ask(secure, key)
        secure.close()
        # It goes on while the control plane is away, and comes back to the next one.
        platform.kill()
        assert _status(port, key) == 200
        platform.start()
        platform.until(lambda: len(platform.json("gateway", "config")) == 2)
        assert _status(port, key) == 200
        # It renews its certificate by itself, and Envoy takes it up.
        before = (folder / "identity.pem").read_bytes()
        # Straight there, as Envoy goes, whatever proxy the environment names.
        platform.environment["grpc_proxy"] = "http://127.0.0.1:1"
        renewed = platform.json("gateway", "renew", folder)
        del platform.environment["grpc_proxy"]
        assert renewed["expires"] > datetime.now(UTC).isoformat()
        assert (folder / "identity.pem").read_bytes() != before
        assert (folder / "identity.pem").stat().st_mode & 0o777 == 0o600
        # Expelled, it is told nothing more.
        platform.cli("gateway", "expel", "edge")
        platform.until(lambda: [each["name"] for each in platform.json("gateway", "config")] == ["gateway"], 10)
        assert "does not let this gateway in any more" in platform.cli("gateway", "renew", folder, check=False).stderr
    with gateway_elsewhere(folder):
        platform.until(lambda: "turned away" in platform.log())
        assert [each["name"] for each in platform.json("gateway", "config")] == ["gateway"]
        # Its name is given anew: what was its certificate opens nothing.
        copy = shutil.copytree(folder, tmp_path / "stolen", ignore=shutil.ignore_patterns("admin.sock"))
        platform.cli(*enroll)
        assert "does not let this gateway in any more" in platform.cli("gateway", "renew", copy, check=False).stderr
        # It itself was enrolled again, and is let in without a restart.
        platform.until(lambda: _status(port, key) == 200)


def _status(port: int, key: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/endpoints/safe/score", b"{}", {"authorization": f"Bearer {key}"})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def _refused(platform: Platform, *flags: str) -> str:
    """The sentence with which `penstock up` ends."""
    ran = platform.cli(*platform.up_command()[1:], *flags, "--detach", check=False)
    assert ran.returncode == 1, ran
    (line,) = [each for each in ran.stderr.splitlines() if each.startswith("error:")]
    return line


def test_what_stops_the_start(fresh_platform: Platform) -> None:
    platform = fresh_platform
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = f"127.0.0.1:{held.getsockname()[1]}"
        assert f"{taken} cannot be listened on for gateways" in _refused(platform, "--ads-address", taken)
    assert "192.0.2.1 is no address of this machine" in _refused(platform, "--instance-host", "192.0.2.1")
    assert "is the IP address by which gateways reach this machine" in _refused(platform, "--instance-host", "0.0.0.0")
    assert "is HOST:PORT" in _refused(platform, "--ads-address", "somewhere")
    # The authority is there from the first of these starts on, and is never replaced unasked.
    authority = platform.home / "pki" / "authority.pem"
    held_back = authority.read_bytes()
    authority.write_text("broken")
    assert "authority.pem does not hold a certificate and its key in PEM" in _refused(platform)
    authority.write_bytes(held_back)
    (platform.home / "pki" / "gateways" / "authority.pem").write_text("broken")
    assert "gateways/authority.pem does not hold a certificate and its key in PEM" in _refused(platform)
    (platform.home / "pki" / "gateways" / "authority.pem").write_bytes(held_back)
    platform.start()


def test_who_cannot_be_enrolled(fresh_platform: Platform, tmp_path: Path) -> None:
    platform = fresh_platform
    platform.start()

    def refused(*arguments: str) -> str:
        ran = platform.cli("gateway", *arguments, check=False, cwd=tmp_path)
        assert ran.returncode == 1, ran
        return ran.stderr

    assert "lets no gateway in from another machine" in refused("enroll", "edge")
    platform.kill()
    platform.flags = ("--ads-address", f"0.0.0.0:{free_port()}")
    platform.start()
    assert "--instance-host" in platform.log()
    assert "--instance-host" in platform.json("status")["problems"][0]
    assert "nobody knows by which address" in refused("enroll", "edge")
    assert "takes HOST:PORT" in refused("enroll", "edge", "--control-plane", "here")
    assert "takes an IP address" in refused("enroll", "edge", "--control-plane", "here:1", "--listen", "there:1")
    assert "cannot name a gateway" in refused("enroll", "../edge", "--control-plane", "here:1")
    assert "cannot name a gateway" in refused("enroll", "gateway", "--control-plane", "here:1")
    assert "no gateway 'edge' is enrolled" in refused("expel", "edge")
    assert not (tmp_path / "edge").exists()
    assert json.loads((platform.home / "platform.json").read_text())["ads"].startswith("0.0.0.0:")
