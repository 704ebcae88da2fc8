"""EndpointService."""

# ruff: noqa: ARG002, D102, N802  # method names, arguments and their comments are the .proto file's
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from controlplane.api.context import caller
from controlplane.api.convert.common import timestamp, with_short_name
from controlplane.api.convert.deployment import deployment_message
from controlplane.api.convert.endpoint import EndpointConverter, endpoint_change, endpoint_spec
from controlplane.api.convert.operation import OperationConverter
from controlplane.domain.errors import InvalidArgumentError, Violation
from controlplane.domain.names import parse
from controlplane.usecases.credentials import CredentialUseCases
from controlplane.usecases.endpoints import EndpointUseCases
from controlplane.usecases.keys import KeyName
from controlplane.usecases.paging import Query
from controlplane.usecases.results import Keys
from controlplane.usecases.tokens import TokenUseCases
from controlplane.usecases.watching import EndpointWatch
from penstock.v1 import endpoint_pb2, endpoint_service_pb2, endpoint_service_pb2_grpc

_KEYS = {
    endpoint_service_pb2.KEY_TYPE_PRIMARY: KeyName.PRIMARY,
    endpoint_service_pb2.KEY_TYPE_SECONDARY: KeyName.SECONDARY,
}


class EndpointServicer(endpoint_service_pb2_grpc.EndpointServiceServicer):
    """See ``protos/penstock/v1/endpoint_service.proto``."""

    def __init__(
        self,
        endpoints: EndpointUseCases,
        credentials: CredentialUseCases,
        tokens: TokenUseCases,
        watch: EndpointWatch,
        operations: OperationConverter,
    ) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._tokens = tokens
        self._watch = watch
        self._operations = operations
        self._convert: EndpointConverter = operations.endpoints

    async def CreateEndpoint(self, request: endpoint_service_pb2.CreateEndpointRequest, context: Any) -> Any:
        spec = with_short_name("endpoint_id", request.endpoint_id, lambda: endpoint_spec(request.endpoint))
        accepted = await self._endpoints.create(
            request.endpoint_id, spec, caller(), validate_only=request.validate_only
        )
        return self._operations.message(accepted)

    async def GetEndpoint(
        self, request: endpoint_service_pb2.GetEndpointRequest, context: Any
    ) -> endpoint_pb2.Endpoint:
        return self._convert.message(await self._endpoints.get(_name(request.name)))

    async def ListEndpoints(
        self, request: endpoint_service_pb2.ListEndpointsRequest, context: Any
    ) -> endpoint_service_pb2.ListEndpointsResponse:
        query = Query(filter=request.filter, page_size=request.page_size, page_token=request.page_token)
        page = await self._endpoints.list(query)
        return endpoint_service_pb2.ListEndpointsResponse(
            endpoints=[self._convert.message(view) for view in page.items], next_page_token=page.next_token
        )

    async def UpdateEndpoint(self, request: endpoint_service_pb2.UpdateEndpointRequest, context: Any) -> Any:
        accepted = await self._endpoints.update(
            _name(request.endpoint.name, "endpoint.name"),
            endpoint_change(request.endpoint, request.update_mask),
            caller(),
            etag=request.endpoint.etag,
            validate_only=request.validate_only,
        )
        return self._operations.message(accepted)

    async def DeleteEndpoint(self, request: endpoint_service_pb2.DeleteEndpointRequest, context: Any) -> Any:
        accepted = await self._endpoints.delete(_name(request.name), caller(), etag=request.etag)
        return self._operations.message(accepted)

    async def ListKeys(
        self, request: endpoint_service_pb2.ListKeysRequest, context: Any
    ) -> endpoint_service_pb2.EndpointKeys:
        return _keys(await self._credentials.list(_name(request.name), caller()))

    async def RegenerateKey(
        self, request: endpoint_service_pb2.RegenerateKeyRequest, context: Any
    ) -> endpoint_service_pb2.EndpointKeys:
        if request.key_type not in _KEYS:
            raise InvalidArgumentError(Violation("key_type", "must be KEY_TYPE_PRIMARY or KEY_TYPE_SECONDARY"))
        keys = await self._credentials.regenerate(
            _name(request.name), _KEYS[request.key_type], request.key_value, caller()
        )
        return _keys(keys)

    async def GetToken(
        self, request: endpoint_service_pb2.GetTokenRequest, context: Any
    ) -> endpoint_service_pb2.EndpointToken:
        token = await self._tokens.issue(_name(request.name), caller())
        return endpoint_service_pb2.EndpointToken(
            access_token=token.text,
            expiry_time=timestamp(token.expires),
            refresh_after_time=timestamp(token.refresh_after),
            token_type="Bearer",  # noqa: S106  # the kind, not a credential
        )

    async def RevokeTokens(
        self, request: endpoint_service_pb2.RevokeTokensRequest, context: Any
    ) -> endpoint_service_pb2.RevokeTokensResponse:
        bound = await self._tokens.revoke(_name(request.name), caller())
        return endpoint_service_pb2.RevokeTokensResponse(not_before_time=timestamp(bound))

    async def WatchEndpoint(
        self, request: endpoint_service_pb2.WatchEndpointRequest, context: Any
    ) -> AsyncIterator[endpoint_service_pb2.WatchEndpointResponse]:
        async for state in self._watch.follow(_name(request.name)):
            if state is None:
                yield endpoint_service_pb2.WatchEndpointResponse(deleted=True)
            else:
                yield endpoint_service_pb2.WatchEndpointResponse(
                    endpoint=self._convert.message(state.endpoint),
                    deployments=[deployment_message(record) for record in state.deployments],
                )


def _name(name: str, field: str = "name") -> str:
    return parse("endpoints/{}", field, name)[0]


def _keys(keys: Keys) -> endpoint_service_pb2.EndpointKeys:
    return endpoint_service_pb2.EndpointKeys(primary_key=keys.primary, secondary_key=keys.secondary)
