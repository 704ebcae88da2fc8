"""The names that resources, headers and files share. A change here is a change of every golden file."""

from __future__ import annotations

from typing import Final

LISTENER: Final = "gateway"
CONTROL_CLUSTER: Final = "penstock-control"
"""The control plane, in an Envoy's bootstrap."""
LISTENER_TLS: Final = "gateway-tls"
CERTIFICATE: Final = "gateway-cert"
UPSTREAM_CERTIFICATE: Final = "upstream-cert"
AUTHORITY: Final = "authority"
HEADER_DEPLOYMENT: Final = "azureml-model-deployment"
"""In a request: the deployment wanted. In a response: the one that answered."""
HEADER_CLIENT: Final = "x-penstock-client"
"""Upstream only: the authenticated client's name. Stripped from what clients send."""
HEADER_ENDPOINT: Final = "x-penstock-endpoint"
"""In gRPC metadata: the endpoint wanted, since a gRPC path has no room for its name."""
IDENTITY_HEADERS: Final = ("x-envoy-.*", "x-penstock-([^e].*|e|e[^n].*|en|en[^d].*)?")
"""Headers a client may not send: the first change timeouts and retries, the second say who it is. Regular expressions
of RE2, which has no way to say "except": the second takes every name but those that begin with ``x-penstock-end``."""
CLUSTER_SEPARATOR: Final = "/"
_GRPC: Final = "grpc"
NOBODY: Final = "-"
"""In place of a deployment: none was chosen. It is no deployment's name, and what Envoy's log has for no value."""
METADATA: Final = "penstock"
METADATA_MODEL_CODE: Final = "model_code"
"""Dynamic metadata of a request: the status the model answered, whatever it became. Written by ``response.lua``."""


def cluster_name(endpoint: str, deployment: str, *, grpc: bool = False) -> str:
    """Cluster (and load assignment) of a deployment. ``/`` cannot occur in either name."""
    return CLUSTER_SEPARATOR.join((endpoint, deployment, _GRPC) if grpc else (endpoint, deployment))


def cluster_parts(cluster: str) -> tuple[str, str]:
    """Endpoint and deployment of a cluster, whichever of the deployment's it is."""
    endpoint, _, rest = cluster.partition(CLUSTER_SEPARATOR)
    return endpoint, rest.partition(CLUSTER_SEPARATOR)[0]


def scorer_identity(endpoint: str, deployment: str) -> str:
    """What an instance's certificate says, where it is reached over TCP."""
    return f"spiffe://penstock/scorer/{endpoint}/{deployment}"


def route_config_name(endpoint: str) -> str:
    """RouteConfiguration of an endpoint."""
    return f"ep/{endpoint}"


def path_prefix(endpoint: str) -> str:
    """What the scoring address of an endpoint begins with."""
    return f"/endpoints/{endpoint}/"


def grpc_prefix(endpoint: str) -> str:
    """What ``addresses.lua`` puts before the path of a gRPC call, so that the name is where it is in every address."""
    return f"/grpc/{endpoint}/"


def endpoint_of(resource_name: str) -> str:
    """The endpoint a cluster, assignment, scope or route configuration belongs to."""
    return resource_name.removeprefix("ep/").partition("/")[0]
