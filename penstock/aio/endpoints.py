"""Endpoints: their traffic, their keys, their life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from penstock.aio.operations import Operation
from penstock.aio.transport import Transport
from penstock.names import endpoint_name
from penstock.v1 import endpoint_service_pb2 as pb
from penstock.v1.endpoint_pb2 import Endpoint
from penstock.v1.endpoint_service_pb2 import EndpointKeys, EndpointToken, WatchEndpointResponse
from penstock.v1.metrics_service_pb2 import EndpointMetrics, GetEndpointMetricsRequest, WatchEndpointMetricsRequest


class Endpoints:
    """The endpoints of a platform. Every method may raise :class:`penstock.errors.ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self, name: str, endpoint: Endpoint | None = None, *, validate_only: bool = False
    ) -> Operation[Endpoint]:
        """Create an endpoint; done once the gateway answers for it. ``validate_only`` checks and changes nothing."""
        request = pb.CreateEndpointRequest(endpoint_id=name, endpoint=endpoint, validate_only=validate_only)
        return self._operation(await self._transport.change(self._transport.endpoints.CreateEndpoint, request))

    async def get(self, name: str) -> Endpoint:
        """One endpoint."""
        request = pb.GetEndpointRequest(name=endpoint_name(name))
        return await self._transport.read(self._transport.endpoints.GetEndpoint, request)

    async def list(self, filter: str = "") -> Sequence[Endpoint]:  # noqa: A002 - the API's own word
        """Every endpoint by name, or those that match a filter such as ``tags.team = "x"``."""
        found: list[Endpoint] = []
        request = pb.ListEndpointsRequest(page_size=1000, filter=filter)
        while True:
            page = await self._transport.read(self._transport.endpoints.ListEndpoints, request)
            found += page.endpoints
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def update(
        self, name: str, endpoint: Endpoint, fields: Collection[str], *, validate_only: bool = False
    ) -> Operation[Endpoint]:
        """Change ``fields`` to what ``endpoint`` has there; done once every gateway has acknowledged it.

        A non-empty ``endpoint.etag`` must match.
        """
        request = pb.UpdateEndpointRequest(endpoint=endpoint, validate_only=validate_only)
        request.endpoint.name = endpoint_name(name)
        request.update_mask.paths.extend(fields)
        return self._operation(await self._transport.change(self._transport.endpoints.UpdateEndpoint, request))

    async def set_traffic(self, name: str, traffic: Mapping[str, int]) -> Operation[Endpoint]:
        """Replace the whole traffic map: percent by deployment, 100 in sum, or all 0."""
        return await self.update(name, Endpoint(traffic=traffic), ["traffic"])

    async def delete(self, name: str) -> Operation[None]:
        """Delete an endpoint with its deployments."""
        request = pb.DeleteEndpointRequest(name=endpoint_name(name))
        operation = await self._transport.change(self._transport.endpoints.DeleteEndpoint, request)
        return Operation(self._transport, operation, lambda _: None)

    async def keys(self, name: str) -> EndpointKeys:
        """Both keys. They never expire."""
        request = pb.ListKeysRequest(name=endpoint_name(name))
        return await self._transport.read(self._transport.endpoints.ListKeys, request)

    async def regenerate_key(self, name: str, *, secondary: bool = False, value: str = "") -> EndpointKeys:
        """Replace the primary or the secondary key; the old one stops working within a second. Both keys as now."""
        kind = pb.KEY_TYPE_SECONDARY if secondary else pb.KEY_TYPE_PRIMARY
        request = pb.RegenerateKeyRequest(name=endpoint_name(name), key_type=kind, key_value=value)
        return await self._transport.change(self._transport.endpoints.RegenerateKey, request)

    async def token(self, name: str) -> EndpointToken:
        """A new token of an endpoint whose ``auth_mode`` is ``aml_token``."""
        request = pb.GetTokenRequest(name=endpoint_name(name))
        return await self._transport.read(self._transport.endpoints.GetToken, request)

    async def revoke_tokens(self, name: str) -> None:
        """Refuse every token issued until now, within a second."""
        request = pb.RevokeTokensRequest(name=endpoint_name(name))
        await self._transport.change(self._transport.endpoints.RevokeTokens, request)

    def watch(self, name: str) -> AsyncIterator[WatchEndpointResponse]:
        """The endpoint and its deployments as they are, then at every change, until the endpoint is gone."""
        request = pb.WatchEndpointRequest(name=endpoint_name(name))
        return self._transport.stream(self._transport.endpoints.WatchEndpoint, request)

    async def metrics(self, name: str) -> EndpointMetrics:
        """How an endpoint is doing now: requests, latencies, load, instances."""
        request = GetEndpointMetricsRequest(name=endpoint_name(name))
        return await self._transport.read(self._transport.metrics.GetEndpointMetrics, request)

    async def watch_metrics(self, name: str, seconds: float = 5.0) -> AsyncIterator[EndpointMetrics]:
        """The same now and every ``seconds`` (1 to 60), until the endpoint is gone."""
        request = WatchEndpointMetricsRequest(name=endpoint_name(name))
        request.interval.FromNanoseconds(round(seconds * 1e9))
        async for response in self._transport.stream(self._transport.metrics.WatchEndpointMetrics, request):
            yield response.metrics

    def _operation(self, operation: object) -> Operation[Endpoint]:
        return Operation(self._transport, operation, lambda packed: Endpoint.FromString(packed.value))
