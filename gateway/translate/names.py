"""The names that resources, headers and files share. A change here is a change of every golden file."""

from __future__ import annotations

from typing import Final

LISTENER: Final = "gateway"
CONTROL_CLUSTER: Final = "penstock-control"
"""The control plane, in an Envoy's bootstrap."""
HEADER_DEPLOYMENT: Final = "azureml-model-deployment"
"""In a request: the deployment wanted. In a response: the one that answered."""
HEADER_CLIENT: Final = "x-penstock-client"
"""Upstream only: the authenticated client's name. Stripped from what clients send."""
IDENTITY_PREFIXES: Final = ("x-penstock-", "x-envoy-")
"""Headers a client may not send: the first say who it is, the second change timeouts and retries."""
HEADER_UPSTREAM_TIME: Final = "x-envoy-upstream-service-time"
"""Set by Envoy's router on what an upstream answered, never on its own answers: the Lua filter tells them apart."""


CLUSTER_SEPARATOR: Final = "/"
NOBODY: Final = "-"
"""In place of a deployment: none was chosen. It is no deployment's name, and what Envoy's log has for no value."""
METADATA: Final = "penstock"
METADATA_MODEL_CODE: Final = "model_code"
"""Dynamic metadata of a request: the status the model answered, whatever it became. Written by ``response.lua``."""


def cluster_name(endpoint: str, deployment: str) -> str:
    """Cluster (and load assignment) of a deployment. ``/`` cannot occur in either name."""
    return f"{endpoint}{CLUSTER_SEPARATOR}{deployment}"


def cluster_parts(cluster: str) -> tuple[str, str]:
    """Endpoint and deployment of a cluster."""
    endpoint, _, deployment = cluster.partition(CLUSTER_SEPARATOR)
    return endpoint, deployment


def route_config_name(endpoint: str) -> str:
    """RouteConfiguration of an endpoint."""
    return f"ep/{endpoint}"


def path_prefix(endpoint: str) -> str:
    """What the scoring address of an endpoint begins with."""
    return f"/endpoints/{endpoint}"


def endpoint_of(resource_name: str) -> str:
    """The endpoint a cluster, assignment, scope or route configuration belongs to."""
    return resource_name.removeprefix("ep/").partition("/")[0]
