"""What the blocking client needs of the outside: a channel, time, HTTP.

The one module of :mod:`penstock.blocking` that is written by hand; the rest is generated from :mod:`penstock.aio`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import grpc
from google.longrunning import operations_pb2_grpc

from penstock import package, scoring, status
from penstock.retry import Retry
from penstock.v1 import (
    asset_service_pb2_grpc,
    deployment_service_pb2_grpc,
    endpoint_service_pb2_grpc,
    environment_service_pb2_grpc,
    gateway_service_pb2_grpc,
    instance_service_pb2_grpc,
    metrics_service_pb2_grpc,
    model_service_pb2_grpc,
    platform_service_pb2_grpc,
)

Request = TypeVar("Request")
Response = TypeVar("Response")

CALL_SECONDS = 30.0
"""How long a call may take when it says nothing else."""


class Transport:
    """One connection to a control plane; opened by the first call."""

    def __init__(self, target: str, token: str, retry: Retry) -> None:
        self.target = target
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._retry = retry

    @cached_property
    def channel(self) -> grpc.Channel:
        """The channel."""
        return grpc.insecure_channel(self.target)

    @cached_property
    def endpoints(self) -> endpoint_service_pb2_grpc.EndpointServiceStub:
        """The stub of EndpointService."""
        return endpoint_service_pb2_grpc.EndpointServiceStub(self.channel)

    @cached_property
    def deployments(self) -> deployment_service_pb2_grpc.DeploymentServiceStub:
        """The stub of DeploymentService."""
        return deployment_service_pb2_grpc.DeploymentServiceStub(self.channel)

    @cached_property
    def models(self) -> model_service_pb2_grpc.ModelServiceStub:
        """The stub of ModelService."""
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    @cached_property
    def environments(self) -> environment_service_pb2_grpc.EnvironmentServiceStub:
        """The stub of EnvironmentService."""
        return environment_service_pb2_grpc.EnvironmentServiceStub(self.channel)

    @cached_property
    def instances(self) -> instance_service_pb2_grpc.InstanceServiceStub:
        """The stub of InstanceService."""
        return instance_service_pb2_grpc.InstanceServiceStub(self.channel)

    @cached_property
    def metrics(self) -> metrics_service_pb2_grpc.MetricsServiceStub:
        """The stub of MetricsService."""
        return metrics_service_pb2_grpc.MetricsServiceStub(self.channel)

    @cached_property
    def assets(self) -> asset_service_pb2_grpc.AssetServiceStub:
        """The stub of AssetService."""
        return asset_service_pb2_grpc.AssetServiceStub(self.channel)

    @cached_property
    def gateways(self) -> gateway_service_pb2_grpc.GatewayServiceStub:
        """The stub of GatewayService."""
        return gateway_service_pb2_grpc.GatewayServiceStub(self.channel)

    @cached_property
    def platform(self) -> platform_service_pb2_grpc.PlatformServiceStub:
        """The stub of PlatformService."""
        return platform_service_pb2_grpc.PlatformServiceStub(self.channel)

    @cached_property
    def operations(self) -> operations_pb2_grpc.OperationsStub:
        """The stub of google.longrunning.Operations."""
        return operations_pb2_grpc.OperationsStub(self.channel)

    def read(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout: float = CALL_SECONDS,
    ) -> Response:
        """Call a method that changes nothing; made again while nothing answers, see :class:`Retry`."""
        for delay in self._retry.delays():
            try:
                return method(request, timeout=timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise status.from_rpc(error, self.target) from None
            self.sleep(delay)
        return self.change(method, request, timeout)

    def change(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout: float = CALL_SECONDS,
    ) -> Response:
        """Call a method once."""
        try:
            return method(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise status.from_rpc(error, self.target) from None

    def stream(self, method: grpc.UnaryStreamMultiCallable[Request, Response], request: Request) -> Iterator[Response]:
        """Call a method that answers with a stream. Leaving the iteration ends the call."""
        call = method(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise status.from_rpc(error, self.target) from None
        finally:
            call.cancel()

    def send(self, method: grpc.StreamUnaryMultiCallable[Request, Response], requests: Iterable[Request]) -> Response:
        """Call a method that takes a stream."""
        failure: list[Exception] = []

        def feed() -> Iterator[Request]:
            try:
                yield from requests
            except Exception as error:  # noqa: BLE001 - raised below
                failure.append(error)

        # A source that fails ends the stream early. The platform refuses what is incomplete; only the source knows why.
        try:
            response = method(feed(), metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure[0] if failure else status.from_rpc(error, self.target) from None
        if failure:
            raise failure[0]
        return response

    def measure(self, path: Path) -> package.Package:
        """:func:`penstock.package.measure`."""
        return package.measure(path)

    def post(
        self, uri: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float, ca: str = ""
    ) -> scoring.ScoringResponse:
        """:func:`penstock.scoring.post`."""
        return scoring.post(uri, body, headers, timeout_seconds, ca)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if "channel" in self.__dict__:
            self.channel.close()
