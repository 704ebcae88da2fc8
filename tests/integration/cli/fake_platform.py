"""A control plane in memory: the API's servicers with just enough behind them for the client and the CLI.

It answers as the real one does (names, etags, error details, long-running operations), and can be told to fail.
"""

# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.longrunning import operations_pb2_grpc, operations_proto_pb2
from google.protobuf import any_pb2, empty_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from penstock.v1 import (
    asset_pb2,
    asset_service_pb2_grpc,
    common_pb2,
    deployment_pb2,
    deployment_service_pb2,
    deployment_service_pb2_grpc,
    endpoint_pb2,
    endpoint_service_pb2,
    endpoint_service_pb2_grpc,
    environment_pb2,
    environment_service_pb2,
    environment_service_pb2_grpc,
    instance_pb2,
    instance_service_pb2,
    instance_service_pb2_grpc,
    metrics_service_pb2,
    metrics_service_pb2_grpc,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    operation_pb2,
    platform_service_pb2,
    platform_service_pb2_grpc,
)

TOKEN = "admin-token-of-the-fake"
PAGE = 2
"""Small, so that every list is read in pages."""


def status_of(
    code: int, reason: str, message: str, *, hint: str = "", detail: str = "", resource: str = ""
) -> status_pb2.Status:
    status = status_pb2.Status(code=code, message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain="penstock")
    if hint:
        info.metadata["hint"] = hint
    if resource:
        info.metadata["resource"] = resource
    status.details.add().Pack(info)
    if detail:
        status.details.add().Pack(error_details_pb2.DebugInfo(detail=detail))
    return status


class FakePlatform:
    """State, and the knobs of a test."""

    def __init__(self) -> None:
        self.endpoints: dict[str, endpoint_pb2.Endpoint] = {}
        self.deployments: dict[str, deployment_pb2.Deployment] = {}
        self.models: dict[str, model_pb2.Model] = {}
        self.environments: dict[str, environment_pb2.Environment] = {}
        self.assets: dict[str, tuple[asset_pb2.Asset, bytes]] = {}
        self.keys: dict[str, list[str]] = {}
        self.operations: dict[str, operations_proto_pb2.Operation] = {}
        self.log_lines: list[str] = ["line one", "line two"]
        self.scoring_base = "http://localhost:8080"
        self.calls: list[str] = []
        self.waits = 0
        """How many times WaitOperation answers "not yet" before an operation ends."""
        self.progress: list[str] = []
        self.fail: deque[status_pb2.Status] = deque()
        """The next operations end with these."""
        self.unavailable = 0
        """The next calls get UNAVAILABLE."""
        self.conditions: list[common_pb2.Condition] = []
        """Conditions every new deployment gets."""
        self.problems: list[str] = []
        """Of the platform."""
        self._pending: dict[str, int] = {}
        self._outcomes: dict[str, Any] = {}
        self._ids = itertools.count(1)
        self.lock = threading.Lock()

    def operation(self, target: str, verb: str, outcome: Any, apply: Any) -> operations_proto_pb2.Operation:
        """Start an operation; ``apply`` makes its change real when it succeeds."""
        name = f"operations/{next(self._ids)}"
        operation = operations_proto_pb2.Operation(name=name)
        operation.metadata.Pack(operation_pb2.OperationMetadata(target=target, verb=verb))
        self.operations[name] = operation
        self._pending[name] = self.waits
        self._outcomes[name] = (outcome, apply, self.fail.popleft() if self.fail else None)
        if not self.waits:
            self.settle(name)
        return operation

    def settle(self, name: str) -> None:
        outcome, apply, failure = self._outcomes[name]
        operation = self.operations[name]
        operation.done = True
        if failure is not None:
            operation.error.CopyFrom(failure)
            return
        apply()
        packed = any_pb2.Any()
        packed.Pack(outcome)
        operation.response.CopyFrom(packed)

    def look(self, name: str) -> operations_proto_pb2.Operation:
        operation = self.operations[name]
        if not operation.done:
            if self._pending[name] <= 0:
                self.settle(name)
            else:
                self._pending[name] -= 1
                metadata = operation_pb2.OperationMetadata()
                operation.metadata.Unpack(metadata)
                metadata.progress = self.progress.pop(0) if self.progress else "still at it"
                operation.metadata.Pack(metadata)
        return operation

    def start(self, address: str) -> grpc.Server:
        server = grpc.server(futures.ThreadPoolExecutor(8), interceptors=[_Gate(self)])
        endpoint_service_pb2_grpc.add_EndpointServiceServicer_to_server(_Endpoints(self), server)
        deployment_service_pb2_grpc.add_DeploymentServiceServicer_to_server(_Deployments(self), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), server)
        environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server(_Environments(self), server)
        asset_service_pb2_grpc.add_AssetServiceServicer_to_server(_Assets(self), server)
        instance_service_pb2_grpc.add_InstanceServiceServicer_to_server(_Instances(self), server)
        platform_service_pb2_grpc.add_PlatformServiceServicer_to_server(_Platform(self), server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), server)
        operations_pb2_grpc.add_OperationsServicer_to_server(_Operations(self), server)
        server.add_insecure_port(address)
        server.start()
        return server


class _Gate(grpc.ServerInterceptor):
    """Auth and outages, before any servicer."""

    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        method = details.method.rpartition("/")[2]
        self.platform.calls.append(method)
        metadata = dict(details.invocation_metadata)
        if self.platform.unavailable:
            self.platform.unavailable -= 1
            return _refusing(continuation(details), status_pb2.Status(code=code_pb2.UNAVAILABLE, message="restarting"))
        if metadata.get("authorization") != f"Bearer {TOKEN}":
            refusal = status_of(code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED", "the admin token is missing or wrong")
            return _refusing(continuation(details), refusal)
        return continuation(details)


def _refusing(handler: Any, status: status_pb2.Status) -> Any:
    def refuse(_: Any, context: grpc.ServicerContext) -> NoReturn:
        abort(context, status)

    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(refuse, handler.request_deserializer, handler.response_serializer)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(refuse, handler.request_deserializer, handler.response_serializer)
    return grpc.unary_unary_rpc_method_handler(refuse, handler.request_deserializer, handler.response_serializer)


def abort(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError


def found(context: grpc.ServicerContext, store: dict[str, Any], name: str, reason: str) -> Any:
    if name not in store:
        kind = reason.partition("_")[0].lower()
        short = name.rpartition("/")[2]
        abort(context, status_of(code_pb2.NOT_FOUND, reason, f"there is no {kind} '{short}'", resource=name))
    return store[name]


def taken(context: grpc.ServicerContext, store: dict[str, Any], name: str) -> None:
    if name in store:
        abort(context, status_of(code_pb2.ALREADY_EXISTS, "ALREADY_EXISTS", f"'{name}' exists", resource=name))


def page(request: Any, items: list[Any]) -> tuple[list[Any], str]:
    start = int(request.page_token or 0)
    return items[start : start + PAGE], str(start + PAGE) if start + PAGE < len(items) else ""


def merge(target: Any, source: Any, paths: list[str]) -> None:
    for path in paths:
        target.ClearField(path)
        value = getattr(source, path)
        if hasattr(value, "items"):
            getattr(target, path).update(value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, path).CopyFrom(value)
        elif source.DESCRIPTOR.fields_by_name[path].has_presence and not source.HasField(path):
            continue
        else:
            setattr(target, path, value)


class _Servicer:
    def __init__(self, platform: FakePlatform) -> None:
        self.platform = platform


class _Endpoints(_Servicer, endpoint_service_pb2_grpc.EndpointServiceServicer):
    def CreateEndpoint(self, request: Any, context: Any) -> Any:
        name = f"endpoints/{request.endpoint_id}"
        taken(context, self.platform.endpoints, name)
        endpoint = endpoint_pb2.Endpoint()
        endpoint.CopyFrom(request.endpoint)
        endpoint.name = name
        self._check(endpoint, context)
        endpoint.etag = "1"
        endpoint.uid = f"uid-{request.endpoint_id}"
        endpoint.auth_mode = endpoint.auth_mode or endpoint_pb2.AUTH_MODE_KEY
        endpoint.provisioning_state = common_pb2.PROVISIONING_STATE_SUCCEEDED
        endpoint.scoring_uri = f"{self.platform.scoring_base}/{name}/score"
        endpoint.openapi_uri = f"{self.platform.scoring_base}/{name}/swagger.json"
        self.platform.keys[name] = ["primary-key-0123456", "secondary-key-0123"]
        # As on the real one, the record is there at once; the operation tells when it answers.
        self.platform.endpoints[name] = endpoint
        return self.platform.operation(name, "create", endpoint, lambda: None)

    def GetEndpoint(self, request: Any, context: Any) -> Any:
        return found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")

    def ListEndpoints(self, request: Any, context: Any) -> Any:
        items, token = page(request, [self.platform.endpoints[n] for n in sorted(self.platform.endpoints)])
        return endpoint_service_pb2.ListEndpointsResponse(endpoints=items, next_page_token=token)

    def UpdateEndpoint(self, request: Any, context: Any) -> Any:
        endpoint = found(context, self.platform.endpoints, request.endpoint.name, "ENDPOINT_NOT_FOUND")
        if request.endpoint.etag and request.endpoint.etag != endpoint.etag:
            abort(context, status_of(code_pb2.ABORTED, "ETAG_MISMATCH", "the endpoint changed since it was read"))
        if request.endpoint.auth_mode not in (endpoint_pb2.AUTH_MODE_UNSPECIFIED, endpoint.auth_mode):
            abort(context, status_of(code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT", "auth_mode cannot be changed"))
        new = endpoint_pb2.Endpoint()
        new.CopyFrom(endpoint)
        merge(new, request.endpoint, list(request.update_mask.paths))
        self._check(new, context)
        new.etag = str(int(endpoint.etag) + 1)
        return self.platform.operation(new.name, "update", new, lambda: endpoint.CopyFrom(new))

    def DeleteEndpoint(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")

        def apply() -> None:
            del self.platform.endpoints[request.name]
            for name in [n for n in self.platform.deployments if n.startswith(request.name + "/")]:
                del self.platform.deployments[name]

        return self.platform.operation(request.name, "delete", empty_pb2.Empty(), apply)

    def ListKeys(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")
        primary, secondary = self.platform.keys[request.name]
        return endpoint_service_pb2.EndpointKeys(primary_key=primary, secondary_key=secondary)

    def RegenerateKey(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")
        index = 0 if request.key_type == endpoint_service_pb2.KEY_TYPE_PRIMARY else 1
        self.platform.keys[request.name][index] = request.key_value or "regenerated-key-0123"
        return self.ListKeys(request, context)

    def GetToken(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")
        revoked = self.platform.calls.count("RevokeTokens")
        token = endpoint_service_pb2.EndpointToken(access_token=f"header.claims.{revoked}", token_type="Bearer")
        token.expiry_time.FromSeconds(2_000_000_000)
        token.refresh_after_time.FromSeconds(1_999_999_000)
        return token

    def RevokeTokens(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")
        return endpoint_service_pb2.RevokeTokensResponse()

    def WatchEndpoint(self, request: Any, context: Any) -> Iterator[Any]:
        endpoint = found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")
        yield endpoint_service_pb2.WatchEndpointResponse(endpoint=endpoint)
        yield endpoint_service_pb2.WatchEndpointResponse(deleted=True)

    def _check(self, endpoint: Any, context: Any) -> None:
        prefix = f"{endpoint.name}/deployments/"
        have = {n.removeprefix(prefix) for n in self.platform.deployments if n.startswith(prefix)}
        wrong = [name for name in endpoint.traffic if name not in have]
        if wrong or sum(endpoint.traffic.values()) not in (0, 100):
            message = f"traffic: names '{wrong[0]}'" if wrong else "traffic: must sum to 100"
            status = status_of(code_pb2.INVALID_ARGUMENT, "INVALID_TRAFFIC", message)
            bad = error_details_pb2.BadRequest()
            bad.field_violations.add(field="traffic", description=message)
            status.details.add().Pack(bad)
            abort(context, status)


class _Deployments(_Servicer, deployment_service_pb2_grpc.DeploymentServiceServicer):
    def CreateDeployment(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.parent, "ENDPOINT_NOT_FOUND")
        name = f"{request.parent}/deployments/{request.deployment_id}"
        taken(context, self.platform.deployments, name)
        deployment = deployment_pb2.Deployment()
        deployment.CopyFrom(request.deployment)
        deployment.name, deployment.etag = name, "1"
        if not deployment.HasField("instance_count"):
            deployment.instance_count = 1
        deployment.provisioning_state = common_pb2.PROVISIONING_STATE_SUCCEEDED
        deployment.ready_instances = deployment.instance_count
        deployment.conditions.extend(self.platform.conditions)
        # As on the real one, a deployment that failed is there, in the state Failed.
        self.platform.deployments[name] = deployment
        return self.platform.operation(name, "create", deployment, lambda: None)

    def GetDeployment(self, request: Any, context: Any) -> Any:
        return found(context, self.platform.deployments, request.name, "DEPLOYMENT_NOT_FOUND")

    def ListDeployments(self, request: Any, context: Any) -> Any:
        if request.parent != "endpoints/-":
            found(context, self.platform.endpoints, request.parent, "ENDPOINT_NOT_FOUND")
        prefix = "" if request.parent == "endpoints/-" else request.parent + "/"
        names = [n for n in sorted(self.platform.deployments) if n.startswith(prefix)]
        items, token = page(request, [self.platform.deployments[n] for n in names])
        return deployment_service_pb2.ListDeploymentsResponse(deployments=items, next_page_token=token)

    def UpdateDeployment(self, request: Any, context: Any) -> Any:
        deployment = found(context, self.platform.deployments, request.deployment.name, "DEPLOYMENT_NOT_FOUND")
        new = deployment_pb2.Deployment()
        new.CopyFrom(deployment)
        settable = [
            f.name
            for f in deployment.DESCRIPTOR.fields
            if f.number in range(4, 19)  # what is neither the name nor output only
        ]
        merge(new, request.deployment, list(request.update_mask.paths) or settable)
        return self.platform.operation(new.name, "update", new, lambda: deployment.CopyFrom(new))

    def DeleteDeployment(self, request: Any, context: Any) -> Any:
        found(context, self.platform.deployments, request.name, "DEPLOYMENT_NOT_FOUND")
        endpoint, _, short = request.name.partition("/deployments/")
        if self.platform.endpoints[endpoint].traffic.get(short):
            message = f"'{short}' receives live traffic"
            hint = f'set its traffic to 0 first: --traffic "{short}=0 ..."'
            abort(context, status_of(code_pb2.FAILED_PRECONDITION, "DEPLOYMENT_HAS_TRAFFIC", message, hint=hint))
        return self.platform.operation(
            request.name, "delete", empty_pb2.Empty(), lambda: self.platform.deployments.pop(request.name)
        )

    def TailLogs(self, request: Any, context: Any) -> Iterator[Any]:
        found(context, self.platform.deployments, request.name, "DEPLOYMENT_NOT_FOUND")
        lines = self.platform.log_lines[-request.lines :] if request.HasField("lines") else self.platform.log_lines
        if request.container == deployment_service_pb2.LOG_CONTAINER_STORAGE_INITIALIZER:
            lines = ["built"]
        yield deployment_service_pb2.TailLogsResponse(instance="abc", lines=lines)


class _Models(_Servicer, model_service_pb2_grpc.ModelServiceServicer):
    def CreateModel(self, request: Any, context: Any) -> Any:
        version = request.version or str(1 + _highest(self.platform.models, f"models/{request.model_id}/versions/"))
        name = f"models/{request.model_id}/versions/{version}"
        taken(context, self.platform.models, name)
        model = model_pb2.Model()
        model.CopyFrom(request.model)
        model.name = name
        self.platform.models[name] = model
        return model

    def GetModel(self, request: Any, context: Any) -> Any:
        name = _latest(self.platform.models, request.name)
        return found(context, self.platform.models, name, "MODEL_NOT_FOUND")

    def ListModels(self, request: Any, context: Any) -> Any:
        prefix = "" if request.parent in ("", "models/-") else request.parent + "/"
        names = [n for n in sorted(self.platform.models) if n.startswith(prefix)]
        items, token = page(request, [self.platform.models[n] for n in names])
        return model_service_pb2.ListModelsResponse(models=items, next_page_token=token)

    def UpdateModel(self, request: Any, context: Any) -> Any:
        model = found(context, self.platform.models, request.model.name, "MODEL_NOT_FOUND")
        merge(model, request.model, list(request.update_mask.paths))
        return model

    def DeleteModel(self, request: Any, context: Any) -> Any:
        found(context, self.platform.models, request.name, "MODEL_NOT_FOUND")
        del self.platform.models[request.name]
        return empty_pb2.Empty()


class _Environments(_Servicer, environment_service_pb2_grpc.EnvironmentServiceServicer):
    def UpdateEnvironment(self, request: Any, context: Any) -> Any:
        environment = found(context, self.platform.environments, request.environment.name, "ENVIRONMENT_NOT_FOUND")
        merge(environment, request.environment, list(request.update_mask.paths))
        return environment

    def CreateEnvironment(self, request: Any, context: Any) -> Any:
        prefix = f"environments/{request.environment_id}/versions/"
        name = prefix + (request.version or str(1 + _highest(self.platform.environments, prefix)))
        taken(context, self.platform.environments, name)
        environment = environment_pb2.Environment()
        environment.CopyFrom(request.environment)
        environment.name = name
        self.platform.environments[name] = environment
        return environment

    def GetEnvironment(self, request: Any, context: Any) -> Any:
        name = _latest(self.platform.environments, request.name)
        return found(context, self.platform.environments, name, "ENVIRONMENT_NOT_FOUND")

    def ListEnvironments(self, request: Any, context: Any) -> Any:
        prefix = "" if request.parent in ("", "environments/-") else request.parent + "/"
        names = [n for n in sorted(self.platform.environments) if n.startswith(prefix)]
        items, token = page(request, [self.platform.environments[n] for n in names])
        return environment_service_pb2.ListEnvironmentsResponse(environments=items, next_page_token=token)

    def DeleteEnvironment(self, request: Any, context: Any) -> Any:
        found(context, self.platform.environments, request.name, "ENVIRONMENT_NOT_FOUND")
        del self.platform.environments[request.name]
        return empty_pb2.Empty()


class _Assets(_Servicer, asset_service_pb2_grpc.AssetServiceServicer):
    def UploadAsset(self, requests: Any, context: Any) -> Any:
        header = next(requests).header
        # As on the real one, the name counts: the same bytes under two names are two assets.
        address = hashlib.sha256(f"{header.kind} {header.basename} {header.sha256}".encode()).hexdigest()
        name = f"assets/sha256:{address}"
        if name in self.platform.assets:
            return self.platform.assets[name][0]
        content = b"".join(piece.chunk for piece in requests)
        if hashlib.sha256(content).hexdigest() != header.sha256 or len(content) != header.size_bytes:
            abort(context, status_of(code_pb2.DATA_LOSS, "CHECKSUM_MISMATCH", "the content does not match its sha256"))
        asset = asset_pb2.Asset(name=name, kind=header.kind, basename=header.basename, size_bytes=len(content))
        self.platform.assets[name] = (asset, content)
        return asset

    def GetAsset(self, request: Any, context: Any) -> Any:
        return found(context, self.platform.assets, request.name, "ASSET_NOT_FOUND")[0]


class _Instances(_Servicer, instance_service_pb2_grpc.InstanceServiceServicer):
    def ListInstances(self, request: Any, context: Any) -> Any:
        instances = [
            instance_pb2.Instance(name=f"{name}/instances/abc", state=instance_pb2.INSTANCE_STATE_READY, pid=1234)
            for name in sorted(self.platform.deployments)
        ]
        items, token = page(request, instances)
        return instance_service_pb2.ListInstancesResponse(instances=items, next_page_token=token)


class _Metrics(_Servicer, metrics_service_pb2_grpc.MetricsServiceServicer):
    def GetEndpointMetrics(self, request: Any, context: Any) -> Any:
        found(context, self.platform.endpoints, request.name, "ENDPOINT_NOT_FOUND")
        outcome = metrics_service_pb2.OutcomeCount
        return metrics_service_pb2.EndpointMetrics(
            name=request.name,
            gateways_reporting=1,
            refused=metrics_service_pb2.RequestMetrics(outcomes=[outcome(status_code=401, total=3)]),
            deployments=[
                metrics_service_pb2.DeploymentMetrics(
                    name=name,
                    requests=metrics_service_pb2.RequestMetrics(
                        requests_per_minute=90.04,
                        latency=metrics_service_pb2.LatencyMetrics(p50_ms=1.23456, p99_ms=9),
                        outcomes=[
                            outcome(status_code=200, model_status_code=200, requests_per_minute=90.04, total=80),
                            outcome(status_code=424, model_status_code=500, total=1),
                            outcome(status_code=424, model_status_code=503, total=2),
                        ],
                    ),
                    load=metrics_service_pb2.LoadMetrics(requests_in_progress=4),
                    capacity=[metrics_service_pb2.InstanceCount(state=instance_pb2.INSTANCE_STATE_READY, count=1)],
                    instances=[metrics_service_pb2.InstanceMetrics(name=f"{name}/instances/abc", memory_bytes=0)],
                )
                for name in sorted(self.platform.deployments)
                if name.startswith(f"{request.name}/")
            ],
        )

    def WatchEndpointMetrics(self, request: Any, context: Any) -> Any:
        for _ in range(2):
            metrics = self.GetEndpointMetrics(request, context)
            yield metrics_service_pb2.WatchEndpointMetricsResponse(metrics=metrics)


class _Platform(_Servicer, platform_service_pb2_grpc.PlatformServiceServicer):
    def GetPlatformStatus(self, request: Any, context: Any) -> Any:
        return platform_service_pb2.PlatformStatus(
            version="0.1.0",
            gateway_uri=self.platform.scoring_base,
            gateways_connected=1,
            endpoints=len(self.platform.endpoints),
            deployments=len(self.platform.deployments),
            ready_instances=sum(d.ready_instances for d in self.platform.deployments.values()),
            problems=self.platform.problems,
        )


class _Operations(_Servicer, operations_pb2_grpc.OperationsServicer):
    def WaitOperation(self, request: Any, context: Any) -> Any:
        with self.platform.lock:
            found(context, self.platform.operations, request.name, "OPERATION_NOT_FOUND")
            return self.platform.look(request.name)


def _highest(store: dict[str, Any], prefix: str) -> int:
    versions = [n.removeprefix(prefix) for n in store if n.startswith(prefix)]
    return max((int(v) for v in versions if v.isdigit()), default=0)


def _latest(store: dict[str, Any], name: str) -> str:
    if not name.endswith("/versions/latest"):
        return name
    prefix = name.removesuffix("latest")
    return f"{prefix}{_highest(store, prefix)}"


def socket_address(folder: Path) -> str:
    return f"unix:{folder / 'api.sock'}"
