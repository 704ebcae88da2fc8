"""From a manifest to the message that creates its deployment: uploads, registers, refers.

Everything here may be repeated: content is addressed by its hash, and a version that is there already is taken when it
holds the same. Description, tags and properties that a manifest gives are brought up to date in that one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from penstock import convert, manifest
from penstock.aio.assets import Assets
from penstock.aio.environments import Environments
from penstock.aio.models import Models
from penstock.aio.operations import Progress
from penstock.errors import AlreadyExistsError, NotFoundError
from penstock.names import version_name
from penstock.v1.deployment_pb2 import Deployment
from penstock.v1.environment_pb2 import Environment
from penstock.v1.model_pb2 import Model

_ANONYMOUS = "anonymous"
"""The name of what is registered in passing; the version is a hash of what it holds."""


class Publisher:
    """Makes what a manifest names known to the platform. Every method may raise :class:`penstock.errors.ApiError`."""

    def __init__(self, assets: Assets, models: Models, environments: Environments) -> None:
        self._assets = assets
        self._models = models
        self._environments = environments

    async def deployment(
        self, deployment: manifest.ManifestDeployment, *, progress: Progress | None = None
    ) -> Deployment:
        """Upload and register what ``deployment`` names; the message for :meth:`Deployments.create`.

        Raises:
            SourceError: a file cannot be read.
        """
        model = code = environment = ""
        if isinstance(deployment.model, manifest.Registered):
            model = version_name("models", deployment.model.name, deployment.model.version)
        elif deployment.model is not None:
            model = (await self.model(deployment.model, progress=progress)).name
        if deployment.code is not None:
            code = await self._upload(deployment.code.folder, "the code", progress)
        if isinstance(deployment.environment, manifest.Registered):
            environment = version_name("environments", deployment.environment.name, deployment.environment.version)
        elif deployment.environment is not None:
            environment = (await self.environment(deployment.environment)).name
        return convert.deployment_message(deployment, model=model, code=code, environment=environment)

    async def model(self, model: manifest.ManifestModel, *, progress: Progress | None = None) -> Model:
        """Upload and register a model. With a name and no version, the latest is taken if it holds the same.

        Raises:
            AlreadyExistsError: this version holds other files.
            SourceError: a file cannot be read.
        """
        asset = await self._upload(model.path, "the model", progress)
        message = convert.model_message(model, asset)
        name, version = model.name or _ANONYMOUS, model.version
        if not model.name:
            version = _digest(f"{asset} {message.type}")
        try:
            have = await self._models.get(name, version or "latest")
        except NotFoundError:
            return await self._models.create(name, message, version=version)
        if (have.asset, have.type) == (message.asset, message.type):
            fields = _relabelled(have, message)
            version = have.name.rpartition("/")[2]
            return await self._models.update(name, version, message, fields) if fields else have
        if not version:
            return await self._models.create(name, message)
        raise AlreadyExistsError(
            f"version {version} of the model '{name}' is already registered, with other files",
            code="ALREADY_EXISTS",
            reason="ALREADY_EXISTS",
            hint="a version never changes: give another `version`, or none for the next number",
            resource=have.name,
        )

    async def environment(self, environment: manifest.ManifestEnvironment) -> Environment:
        """Register an environment. With a name and no version, the latest is taken if it holds the same.

        Raises:
            AlreadyExistsError: this version holds something else.
        """
        message = convert.environment_message(environment)
        name, version = environment.name or _ANONYMOUS, environment.version
        if not environment.name:
            version = _digest(_held(message).hex())
        try:
            have = await self._environments.get(name, version or "latest")
        except NotFoundError:
            return await self._environments.create(name, message, version=version)
        if _held(have) == _held(message):
            fields = _relabelled(have, message)
            version = have.name.rpartition("/")[2]
            return await self._environments.update(name, version, message, fields) if fields else have
        if not version:
            return await self._environments.create(name, message)
        raise AlreadyExistsError(
            f"version {version} of the environment '{name}' is already registered, and holds something else",
            code="ALREADY_EXISTS",
            reason="ALREADY_EXISTS",
            hint="a version never changes: give another `version`, or none for the next number",
            resource=have.name,
        )

    async def _upload(self, path: Path, what: str, progress: Progress | None) -> str:
        def sent(done: int, total: int) -> None:
            if progress is not None:
                progress(f"sending {what}: {done >> 20} of {total >> 20} MiB")

        if progress is not None:
            progress(f"sending {what}")
        asset = await self._assets.upload(path, progress=sent)
        return asset.name


def _relabelled(have: Model | Environment, given: Model | Environment) -> list[str]:
    """The labels that are given and differ. Those of what was registered in passing are nobody's."""
    if given.anonymous:
        return []
    labels = ("description", "tags", "properties")
    return [field for field in labels if getattr(given, field) and getattr(given, field) != getattr(have, field)]


def _held(environment: Environment) -> bytes:
    """What code that runs in it can tell."""
    return Environment(
        conda_file=environment.conda_file,
        pip_requirements=environment.pip_requirements,
        image=environment.image,
        build=environment.build if environment.HasField("build") else None,
        inference_config=environment.inference_config if environment.HasField("inference_config") else None,
    ).SerializeToString(deterministic=True)


def _digest(text: str) -> str:
    """A version of 40 characters, within the 50 a version may have."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]
