"""The service's own description: ``/swagger.json`` in versions 2.0, 3.0.3 and 3.1.0.

A ``swagger.json``, ``swagger2.json``, ``swagger3.json`` or ``swagger3.1.json`` beside the script wins for its
version. Otherwise the document is generated, with the schemas of ``@input_schema`` and ``@output_schema``
where they are.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ALIASES = {"2": ("2", "2.0"), "3": ("3", "3.0"), "3.1": ("3.1",)}
_UNDECORATED = {"type": "object", "example": {}}


class UnknownVersionError(Exception):
    """A version that does not exist, or that the script's schemas cannot be written in."""


@dataclass(frozen=True)
class ServiceInfo:
    """What the document says of the service."""

    name: str = "ML service"
    version: str = "1.0"
    path_prefix: str = ""


class OpenApi:
    """Every version that can be served, encoded once."""

    def __init__(self, run: Callable[..., Any], info: ServiceInfo, folder: Path) -> None:
        self._documents: dict[str, bytes] = {}
        self.supported: list[str] = []
        for version, aliases in _ALIASES.items():
            document = _from_file(folder, version) or _generate(run, info, version)
            if document is None:
                continue
            self.supported.append(version)
            for alias in aliases:
                self._documents[alias] = json.dumps(document).encode("ascii")

    def document(self, version: str) -> bytes:
        """The document in one version (``2``, ``2.0``, ``3``, ``3.0``, ``3.1``).

        Raises:
            UnknownVersionError: with the list of what is supported.
        """
        if version in self._documents:
            return self._documents[version]
        supported = ", ".join(self.supported)
        if any(version in aliases for aliases in _ALIASES.values()):
            raise UnknownVersionError(
                f"Swagger version [{version}] is not supported for the scoring script. "
                f"Supported swagger versions: [{supported}]."
            )
        raise UnknownVersionError(f"Swagger version [{version}] is not valid. Supported versions: [{supported}].")


def _from_file(folder: Path, version: str) -> Any:
    for name in (("swagger.json",) if version == "2" else ()) + (f"swagger{version}.json",):
        if (folder / name).is_file():
            return json.loads((folder / name).read_text(encoding="utf-8"))
    return None


def _generate(run: Callable[..., Any], info: ServiceInfo, version: str) -> dict[str, Any] | None:
    schemas = _schemas(run, version)
    if schemas is None:
        return None
    return _version_2(info, *schemas) if version == "2" else _version_3(info, version, *schemas)


def _schemas(run: Callable[..., Any], version: str) -> tuple[Any, Any] | None:
    if "inference_schema" in sys.modules:
        schema_util = importlib.import_module("inference_schema.schema_util")

        if not set(_ALIASES[version]) & set(schema_util.get_supported_versions(run)):
            return None
        if schema_util.is_schema_decorated(run):
            return _without_renamed(schema_util.get_input_schema(run)), schema_util.get_output_schema(run)
    return _UNDECORATED, _UNDECORATED


def _without_renamed(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out the function's own name of a parameter whose schema has another."""
    properties = schema.get("properties", {})
    bare = [name for name, value in properties.items() if not value]
    if len(properties) == 2 and len(bare) == 1:  # noqa: PLR2004 - the schema's name and the function's
        schema = copy.deepcopy(schema)
        del schema["properties"][bare[0]]
        schema.get("example", {}).pop(bare[0], None)
    return schema


def _operations(
    error: dict[str, Any], texts: Callable[[str, str], dict[str, Any]], objects: Callable[[str], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What both dialects say alike; ``texts`` and ``objects`` write a 200 answer in the dialect."""
    default = {"description": "The request could not be answered.", **error}
    return {
        "health": {
            "operationId": "ServiceHealthCheck",
            "description": "Answers 'Healthy' once the service is ready.",
            "responses": {"200": texts("The service is ready.", "Healthy"), "default": default},
        },
        "score": {
            "operationId": "RunMLService",
            "description": "Run the model on the input and return its prediction.",
            "security": [{"Bearer": []}],
        },
        "swagger": {
            "operationId": "GetSwaggerSpec",
            "description": "This description of the service.",
            "responses": {"200": objects("The description."), "default": default},
        },
    }


def _version_2(info: ServiceInfo, service_input: Any, service_output: Any) -> dict[str, Any]:
    def texts(description: str, example: str) -> dict[str, Any]:
        return {"description": description, "schema": {"type": "string"}, "examples": {"text/html": example}}

    def objects(description: str) -> dict[str, Any]:
        return {"description": description, "schema": {"type": "object"}}

    error = {"schema": {"$ref": "#/definitions/ErrorResponse"}}
    operations = _operations(error, texts, objects)
    operations["score"] |= {
        "parameters": [
            {
                "name": "serviceInputPayload",
                "in": "body",
                "description": "The model's input.",
                "schema": {"$ref": "#/definitions/ServiceInput"},
            }
        ],
        "responses": {
            "200": {"description": "The model's output.", "schema": {"$ref": "#/definitions/ServiceOutput"}},
            "default": {"description": "The request could not be answered.", **error},
        },
    }
    operations["health"]["produces"] = ["text/html", "application/json"]
    operations["swagger"]["parameters"] = [
        {
            "name": "version",
            "in": "query",
            "required": False,
            "type": "string",
            "enum": ["2", "2.0", "3", "3.0", "3.1"],
        }
    ]
    return {
        "swagger": "2.0",
        "info": _info(info),
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"Bearer": _bearer()},
        "paths": _paths(info, operations),
        "definitions": _definitions(service_input, service_output),
    }


def _version_3(info: ServiceInfo, version: str, service_input: Any, service_output: Any) -> dict[str, Any]:
    def texts(description: str, example: str) -> dict[str, Any]:
        schema = {"type": "string", "example": example}
        return {"description": description, "content": {"text/html": {"schema": schema}}}

    def objects(description: str) -> dict[str, Any]:
        return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}

    def json_of(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    operations = _operations(json_of("ErrorResponse"), texts, objects)
    operations["score"] |= {
        "requestBody": {"description": "The model's input.", **json_of("ServiceInput")},
        "responses": {
            "200": {"description": "The model's output.", **json_of("ServiceOutput")},
            "default": {"description": "The request could not be answered.", **json_of("ErrorResponse")},
        },
    }
    versions = {"type": "string", "enum": ["2", "2.0", "3", "3.0", "3.1"]}
    operations["swagger"]["parameters"] = [{"name": "version", "in": "query", "required": False, "schema": versions}]
    return {
        "openapi": "3.1.0" if version == "3.1" else "3.0.3",
        "info": _info(info),
        "security": [{"Bearer": []}],
        "paths": _paths(info, operations),
        "components": {
            "schemas": _definitions(service_input, service_output),
            "securitySchemes": {"Bearer": _bearer()},
        },
    }


def _info(info: ServiceInfo) -> dict[str, str]:
    return {"title": info.name, "description": f"The scoring service {info.name}.", "version": info.version}


def _paths(info: ServiceInfo, operations: dict[str, dict[str, Any]]) -> dict[str, Any]:
    prefix = f"/{info.path_prefix.strip('/')}" if info.path_prefix.strip("/") else ""
    return {
        f"{prefix}/": {"get": operations["health"]},
        f"{prefix}/score": {"post": operations["score"]},
        f"{prefix}/swagger.json": {"get": operations["swagger"]},
    }


def _definitions(service_input: Any, service_output: Any) -> dict[str, Any]:
    return {
        "ServiceInput": service_input,
        "ServiceOutput": service_output,
        "ErrorResponse": {"type": "object", "properties": {"message": {"type": "string"}}},
    }


def _bearer() -> dict[str, str]:
    return {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "The endpoint's key: Bearer KEY",
    }
