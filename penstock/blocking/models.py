# Generated from penstock/aio/models.py by penstock/blocking/generate.py. Do not edit.
"""Registered models."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from penstock.blocking.transport import Transport
from penstock.names import version_name
from penstock.v1 import model_service_pb2 as pb
from penstock.v1.model_pb2 import Model


class Models:
    """The models of a platform. Every method may raise :class:`penstock.errors.ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, model: Model, *, version: str = "") -> Model:
        """Register a model; without a version it gets the next whole number."""
        request = pb.CreateModelRequest(model_id=name, version=version, model=model)
        return self._transport.change(self._transport.models.CreateModel, request)

    def get(self, name: str, version: str = "latest") -> Model:
        """One version."""
        request = pb.GetModelRequest(name=version_name("models", name, version))
        return self._transport.read(self._transport.models.GetModel, request)

    def list(self, name: str = "-", filter: str = "") -> Sequence[Model]:  # noqa: A002 - the API's own word
        """The versions of one model; by default of all."""
        found: list[Model] = []
        request = pb.ListModelsRequest(parent=f"models/{name}", page_size=1000, filter=filter)
        while True:
            page = self._transport.read(self._transport.models.ListModels, request)
            found += page.models
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def update(self, name: str, version: str, model: Model, fields: Collection[str]) -> Model:
        """Change description, tags or properties; the files of a version never change."""
        request = pb.UpdateModelRequest(model=model)
        request.model.name = version_name("models", name, version)
        request.update_mask.paths.extend(fields)
        return self._transport.change(self._transport.models.UpdateModel, request)

    def delete(self, name: str, version: str) -> None:
        """Delete a version no deployment uses."""
        request = pb.DeleteModelRequest(name=version_name("models", name, version))
        self._transport.change(self._transport.models.DeleteModel, request)
