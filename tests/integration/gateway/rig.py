"""A real Envoy, a router that drives it, and tiny instances behind it, in a folder of their own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx

from gateway.admin import Admin
from gateway.bootstrap import write_bootstrap
from gateway.certificate import Certificate
from gateway.envoy import envoy_argv, find_envoy
from gateway.journal import Seal
from gateway.router import EnvoyRouter
from gateway.routes import DeploymentRoute, EndpointAuth, EndpointRoute, Host, TokenTrust
from gateway.settings import GatewaySettings
from gateway.signals import Signals
from tests.integration.gateway.load import Load
from tests.support.ports import free_port

KEY = "Xk29fjQpL0a8ZmW3vB7nTq5rYs1uE6cD"
OTHER_KEY = "p8Lr4TzVw2NcYb6HsJm0QeXa7GkUd5Fi"
BEARER = {"authorization": f"Bearer {KEY}"}
_UPSTREAM = Path(__file__).with_name("upstream.py")
_GRPC_UPSTREAM = Path(__file__).with_name("grpc_upstream.py")


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


AUTH = EndpointAuth(key_digests=(("primary", digest(KEY)), ("secondary", digest(OTHER_KEY))))


class Rig:
    """One gateway on loopback, with other ``settings`` than the defaults. Use as an async context manager."""

    seal: Seal | None = None
    """Of the snapshot on disk, where one is kept."""

    def __init__(self, **settings: int) -> None:
        # Short: Unix socket paths end at 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="gw"))
        self.settings = GatewaySettings(
            ads_socket=self.folder / "ads",
            admin_socket=self.folder / "admin",
            access_log=self.folder / "access.log",
            bootstrap_file=self.folder / "envoy.json",
            listen_port=free_port(),
            **settings,
        )
        self.admin = Admin(self.settings.admin_socket)
        self._control_plane()
        self._instances: dict[str, subprocess.Popen[str]] = {}
        self._envoys: list[subprocess.Popen[bytes]] = []

    async def __aenter__(self) -> Self:
        await self.router.start(self.signals.services())
        await self.start_envoy()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.settings.listen_port}", timeout=30)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        for process in (*self._envoys, *self._instances.values()):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        await self.router.stop()
        shutil.rmtree(self.folder)

    async def start_envoy(self) -> subprocess.Popen[bytes]:
        write_bootstrap(self.settings)
        with (self.folder / "envoy.log").open("ab") as log:
            envoy = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
                envoy_argv(self.settings, find_envoy()), stdout=log, stderr=log
            )
        self._envoys.append(envoy)
        await until(self.admin.ready)
        return envoy

    def kill_envoy(self) -> None:
        """``kill -9`` the latest Envoy."""
        self._envoys[-1].kill()
        self._envoys[-1].wait()

    async def restart_control_plane(
        self, *routes: EndpointRoute, trust: TokenTrust | None = None, certificate: Certificate | None = None
    ) -> None:
        """End the router, and start another that knows ``routes``, ``trust`` and ``certificate``."""
        await self.router.stop()
        self._control_plane(*routes)
        if trust is not None:
            await self.router.set_jwks(trust)
        if certificate is not None:
            await self.router.set_certificate(certificate)
        await self.router.start(self.signals.services())

    def _control_plane(self, *routes: EndpointRoute) -> None:
        self.router = EnvoyRouter(self.settings, seal=self.seal)
        self.signals = Signals(self.router.knows)
        self.router.preload(routes)

    def host(self, name: str) -> Host:
        """A running instance; started if need be."""
        return Host(name, f"unix://{self._running(_UPSTREAM, name)}")

    def grpc_host(self, name: str) -> Host:
        """A running instance that answers gRPC beside HTTP."""
        grpc = f"unix://{self._running(_GRPC_UPSTREAM, f'{name}-grpc')}"
        return replace(self.host(name), grpc_addresses=(grpc,))

    def _running(self, script: Path, name: str) -> Path:
        path = self.folder / name
        if name not in self._instances:
            process = subprocess.Popen(
                [sys.executable, str(script), str(path), name], stdout=subprocess.PIPE, text=True
            )
            self._instances[name] = process
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return path

    def kill(self, name: str) -> None:
        """``kill -9`` an instance."""
        self._instances[name].kill()
        self._instances[name].wait()

    def revive(self, name: str) -> None:
        """Start an instance again that was killed, at the same address."""
        process = self._instances.pop(name)
        assert process.stdout is not None
        process.stdout.close()
        (self.folder / name).unlink()
        self.host(name)

    def deployment(self, name: str, *hosts: str, concurrent: int = 500) -> DeploymentRoute:
        instances = tuple(self.host(host) for host in hosts)
        return DeploymentRoute(name, instances, concurrent, max(1, len(hosts)))

    def grpc_deployment(self, name: str, *hosts: str, concurrent: int = 500) -> DeploymentRoute:
        instances = tuple(self.grpc_host(host) for host in hosts)
        return DeploymentRoute(name, instances, concurrent, max(1, len(hosts)), grpc=True)

    def endpoint(self, *deployments: DeploymentRoute, name: str = "e", **weights: int) -> EndpointRoute:
        return EndpointRoute(name, AUTH, deployments, tuple(weights.items()))

    async def get(self, path: str, headers: dict[str, str] | None = None, **more: str) -> httpx.Response:
        """A request with the key, and ``more`` headers (``_`` for ``-``)."""
        extra = {key.replace("_", "-"): value for key, value in more.items()}
        return await self.client.get(path, headers=(BEARER if headers is None else headers) | extra)

    async def arrived(self) -> None:
        """What was acknowledged is what the next request of :meth:`get` meets.

        Envoy acknowledges when its main thread has handed a change to its workers. A worker does what it was handed
        before it turns to a request that comes later, at the latest when it has answered one: so one is sent whose
        answer nobody looks at, on the connection that the next one takes.
        """
        await self.client.get("/")

    def load(self, path: str = "/endpoints/e/score", connections: int = 8, tls: ssl.SSLContext | None = None) -> Load:
        port = self.settings.tls_port if tls else self.settings.listen_port
        assert port is not None
        return Load(port, path, dict(BEARER), connections, tls=tls)

    @contextlib.asynccontextmanager
    async def under_load(
        self,
        path: str = "/endpoints/e/score",
        connections: int = 8,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[Load]:
        """Load for as long as the block runs; what was under way at its end is finished."""
        load = self.load(path, connections, tls)
        load.headers = dict(headers or BEARER)
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.05)
        try:
            yield load
            await asyncio.sleep(0.05)
        finally:
            load.stop()
            await task

    @property
    def envoy_pid(self) -> int:
        """The process id of the latest Envoy."""
        return self._envoys[-1].pid


async def until(condition: object, timeout_s: float = 20.0) -> None:
    """Poll an async or plain predicate."""
    async with asyncio.timeout(timeout_s):
        while True:
            result = condition()  # type: ignore[operator]
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.005)
