"""Registered environments."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from penstock.aio.transport import Transport
from penstock.names import version_name
from penstock.v1 import environment_service_pb2 as pb
from penstock.v1.environment_pb2 import Environment


class Environments:
    """The environments of a platform. Every method may raise :class:`penstock.errors.ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, name: str, environment: Environment, *, version: str = "") -> Environment:
        """Register an environment; without a version it gets the next whole number."""
        request = pb.CreateEnvironmentRequest(environment_id=name, version=version, environment=environment)
        return await self._transport.change(self._transport.environments.CreateEnvironment, request)

    async def get(self, name: str, version: str = "latest") -> Environment:
        """One version."""
        request = pb.GetEnvironmentRequest(name=version_name("environments", name, version))
        return await self._transport.read(self._transport.environments.GetEnvironment, request)

    async def list(self, name: str = "-", filter: str = "") -> Sequence[Environment]:  # noqa: A002 - the API's own word
        """The versions of one environment; by default of all."""
        found: list[Environment] = []
        request = pb.ListEnvironmentsRequest(parent=f"environments/{name}", page_size=1000, filter=filter)
        while True:
            page = await self._transport.read(self._transport.environments.ListEnvironments, request)
            found += page.environments
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def update(self, name: str, version: str, environment: Environment, fields: Collection[str]) -> Environment:
        """Change description, tags or properties; what it holds never changes."""
        request = pb.UpdateEnvironmentRequest(environment=environment)
        request.environment.name = version_name("environments", name, version)
        request.update_mask.paths.extend(fields)
        return await self._transport.change(self._transport.environments.UpdateEnvironment, request)

    async def delete(self, name: str, version: str) -> None:
        """Delete a version no deployment uses."""
        request = pb.DeleteEnvironmentRequest(name=version_name("environments", name, version))
        await self._transport.change(self._transport.environments.DeleteEnvironment, request)
