"""Resource names: how the API calls what people call by short names."""

from __future__ import annotations


def endpoint_name(endpoint: str) -> str:
    """``endpoints/ENDPOINT``; ``-`` stands for every one."""
    return f"endpoints/{endpoint}"


def deployment_name(endpoint: str, deployment: str) -> str:
    """``endpoints/ENDPOINT/deployments/DEPLOYMENT``."""
    return f"endpoints/{endpoint}/deployments/{deployment}"


def version_name(collection: str, name: str, version: str) -> str:
    """``models/NAME/versions/VERSION``, and the same for environments."""
    return f"{collection}/{name}/versions/{version}"


def short_name(resource: str) -> str:
    """The last part of a resource name: ``blue`` of ``endpoints/x/deployments/blue``."""
    return resource.rpartition("/")[2]


def reference(resource: str) -> str:
    """``azureml:NAME:VERSION`` of a model's or an environment's resource name; empty of an empty one."""
    parts = resource.split("/")
    return f"azureml:{parts[1]}:{parts[3]}" if len(parts) == 4 else resource  # noqa: PLR2004 - two pairs
