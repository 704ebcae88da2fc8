"""The rig with an authority: ADS over TCP, a gateway that is enrolled as on another machine, instances behind TLS."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import httpx

from controlplane.pki import identity
from controlplane.pki.authority import Authority, Leaf, Use
from gateway import ads_port, enrolment
from gateway.admin import Admin
from gateway.ads_port import AdsPort
from gateway.certificate import Certificate
from gateway.envoy import find_envoy
from gateway.router import EnvoyRouter
from gateway.routes import DeploymentRoute, EndpointRoute, Host
from gateway.settings import GatewaySettings
from gateway.signals import Signals
from tests.integration.gateway.rig import Rig, free_port, until
from tests.integration.gateway.upstream import Instance

LIFE = timedelta(days=1)


class MutualRig(Rig):
    """``port`` is where ADS is; ``enrolled`` says for whom."""

    def __init__(self, **settings: int) -> None:
        self.ads_port = free_port()
        self.authority: Authority | None = None
        self.enrolled: dict[str, GatewaySettings] = {}
        super().__init__(mutual_tls=True, **settings)
        self.authority = Authority.open(self.folder / "pki" / "authority.pem", datetime.now(UTC))
        self.shown = self.leaf(identity.CONTROL_PLANE, Use.BOTH)
        self._servers: list[asyncio.Server] = []

    def leaf(self, name: str, use: Use, *, age: timedelta = timedelta(0), authority: Authority | None = None) -> Leaf:
        """A certificate, made ``age`` ago."""
        signer = authority or self.authority
        assert signer is not None
        return signer.issue(name, use, datetime.now(UTC) - age, LIFE, ["127.0.0.1"])

    async def show_upstream(self) -> None:
        """Give gateways a new certificate for instances."""
        assert self.authority is not None
        leaf = self.leaf(identity.GATEWAYS, Use.CALL)
        await self.router.set_upstream_identity(Certificate(leaf.chain, leaf.key, leaf.expires), self.authority.pem)

    async def __aenter__(self) -> Self:
        await self.show_upstream()
        self.router.preload(())
        await self.open()
        await self.start_envoy()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.settings.listen_port}", timeout=30)
        return self

    async def __aexit__(self, *details: object) -> None:
        for server in self._servers:
            server.close()
        await super().__aexit__(*details)

    async def open(self) -> None:
        """Listen, over TCP too."""
        assert self.authority is not None
        credentials = ads_port.credentials(lambda: (self.shown.chain, self.shown.key), self.authority.pem)
        port = AdsPort(f"127.0.0.1:{self.ads_port}", credentials, self.enrolled.get)
        await self.router.start(self.signals.services(), port)

    def _control_plane(self, *routes: EndpointRoute) -> None:
        self.router = EnvoyRouter(self.settings)
        self.signals = Signals(self.router.knows)
        if routes:
            self.router.preload(routes)

    async def serving(
        self, endpoint: str, deployment: str, *, as_deployment: str = "", age: timedelta = timedelta(0)
    ) -> Host:
        """An instance behind TLS, which proves to be of ``as_deployment`` with a certificate made ``age`` ago."""
        leaf = self.leaf(identity.scorer(endpoint, as_deployment or deployment), Use.ANSWER, age=age)
        server = await asyncio.get_running_loop().create_server(
            lambda: _named(deployment), "127.0.0.1", 0, ssl=self.context(leaf, server=True)
        )
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return Host(f"{deployment}-{port}", f"tls://127.0.0.1:{port}")

    def context(self, leaf: Leaf | None, *, server: bool = False, trust: Authority | None = None) -> ssl.SSLContext:
        """What shows ``leaf`` and asks for a certificate of the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        authority = trust or self.authority
        assert authority is not None
        context.load_verify_locations(cadata=authority.pem.decode())
        if leaf is not None:
            file = self.folder / "leaf.pem"
            file.write_bytes(leaf.pem)
            context.load_cert_chain(file)
        return context

    def enroll(self, name: str, leaf: Leaf | None = None) -> Path:
        """The folder an operator copies to another machine."""
        settings = enrolment.settings_of(self.settings, name, "127.0.0.1", free_port(), free_port())
        self.enrolled[name] = settings
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for file, content in enrolment.files(settings, "127.0.0.1", self.ads_port).items():
            (folder / file).write_text(content)
        assert self.authority is not None
        (folder / enrolment.AUTHORITY).write_bytes(self.authority.pem)
        (folder / enrolment.IDENTITY).write_bytes((leaf or self.leaf(identity.gateway(name), Use.CALL)).pem)
        return folder

    def start_elsewhere(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start Envoy in an enrolled gateway's folder, with nothing but what is in it."""
        with (folder / "log").open("ab") as log:
            envoy = subprocess.Popen(
                [str(find_envoy()), "-c", enrolment.BOOTSTRAP, "--disable-hot-restart", "--concurrency", "1"],
                cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
        self._envoys.append(envoy)
        return envoy

    async def ready_elsewhere(self, folder: Path) -> None:
        await until(Admin(folder / "admin.sock").ready)

    def one(self, deployment: DeploymentRoute) -> EndpointRoute:
        return self.endpoint(deployment, **{deployment.name: 100})


def _named(name: str) -> Instance:
    instance = Instance()
    instance.name = name
    return instance


def rewritten(folder: Path, leaf: Leaf) -> None:
    """Replace an enrolled gateway's certificate, whole, as a renewal does."""
    fresh = folder / "identity.new"
    fresh.write_bytes(leaf.pem)
    fresh.replace(folder / enrolment.IDENTITY)
