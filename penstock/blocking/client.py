# Generated from penstock/aio/client.py by penstock/blocking/generate.py. Do not edit.
"""The client's front door."""

from __future__ import annotations

from typing import Any, Self

from penstock import scoring
from penstock.blocking.assets import Assets
from penstock.blocking.deployments import Deployments
from penstock.blocking.endpoints import Endpoints
from penstock.blocking.environments import Environments
from penstock.blocking.models import Models
from penstock.blocking.publisher import Publisher
from penstock.blocking.transport import Transport
from penstock.retry import Retry
from penstock.settings import Settings, connection
from penstock.v1.endpoint_pb2 import AUTH_MODE_AML_TOKEN
from penstock.v1.gateway_service_pb2 import (
    GatewayStatus,
    GetGatewayStatusRequest,
    RestartGatewayRequest,
    RestartGatewayResponse,
)
from penstock.v1.platform_service_pb2 import GetPlatformStatusRequest, PlatformStatus

INVOKE_SECONDS = 190.0
"""A little more than the longest `request_timeout_ms`, so that it is the endpoint that says it took too long."""

RESTART_SECONDS = 60.0
"""A new gateway may take 30 s to have its configuration."""


class Client:
    """A platform's control plane, and the endpoints behind its gateway.

    ``target`` (``HOST:PORT`` or ``unix:PATH``) and ``token`` default to ``PENSTOCK_TARGET`` and ``PENSTOCK_TOKEN``,
    else to the platform that runs under ``PENSTOCK_HOME``. Nothing is connected until the first call; `close` it, or
    use it as a context manager.

    Raises:
        PlatformError: a file under ``PENSTOCK_HOME`` cannot be read.
    """

    def __init__(
        self,
        target: str | None = None,
        token: str | None = None,
        *,
        settings: Settings | None = None,
        retry: Retry | None = None,
    ) -> None:
        found = connection(target, token, settings)
        self.target = found.target
        self._ca = found.ca
        self._transport = Transport(found.target, found.token, retry or Retry())
        self.endpoints = Endpoints(self._transport)
        self.deployments = Deployments(self._transport)
        self.models = Models(self._transport)
        self.environments = Environments(self._transport)
        self.assets = Assets(self._transport)
        self.publisher = Publisher(self.assets, self.models, self.environments)

    def status(self) -> PlatformStatus:
        """The state of the control plane and of the gateways."""
        return self._transport.read(self._transport.platform.GetPlatformStatus, GetPlatformStatusRequest())

    def gateway_status(self, endpoint: str = "") -> GatewayStatus:
        """What each gateway has acknowledged, what is pending or refused, and all it has of ``endpoint``."""
        request = GetGatewayStatusRequest(endpoint=f"endpoints/{endpoint}" if endpoint else "")
        return self._transport.read(self._transport.gateways.GetGatewayStatus, request)

    def restart_gateway(self) -> RestartGatewayResponse:
        """Replace the gateway's process by one that takes over; returns once it serves.

        Raises:
            ApiError: it cannot take over, or a former restart is not through yet; what served goes on serving.
        """
        method = self._transport.gateways.RestartGateway
        return self._transport.change(method, RestartGatewayRequest(), RESTART_SECONDS)

    def invoke(
        self,
        endpoint: str,
        data: Any,
        *,
        deployment: str = "",
        credential: str = "",
        timeout: float = INVOKE_SECONDS,
    ) -> scoring.ScoringResponse:
        """Score ``data`` (bytes and text as they are, anything else as JSON) and return the answer.

        ``deployment`` picks one, without traffic too. ``credential`` is a key or a token; by default the primary key,
        or a new token.

        Raises:
            InvokeError: any answer but 200, or none.
            ApiError: the endpoint, or its credentials, cannot be read.
        """
        found = self.endpoints.get(endpoint)
        if not credential:
            if found.auth_mode == AUTH_MODE_AML_TOKEN:
                credential = (self.endpoints.token(endpoint)).access_token
            else:
                credential = (self.endpoints.keys(endpoint)).primary_key
        headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
        if deployment:
            headers["azureml-model-deployment"] = deployment
        response = self._transport.post(found.scoring_uri, scoring.encode(data), headers, timeout, self._ca)
        return scoring.checked(response, endpoint)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Nothing to do: the first call connects."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()
