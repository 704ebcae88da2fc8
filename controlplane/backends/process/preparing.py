"""From a template to something instances can be started from: its environment built, its files found."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from controlplane.backends.environments import conda, hosted, requirements
from controlplane.backends.environments.wanted import Difference, EnvironmentFileError, WantedEnvironment
from controlplane.backends.process import files
from controlplane.backends.process.environments import Environment, EnvironmentCache
from controlplane.backends.process.failures import disk_error
from controlplane.backends.process.layout import Layout
from controlplane.domain.errors import NotFoundError
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.ports import AssetStore, Preparation, PreparationError
from controlplane.domain.specs import Asset, EnvironmentSpec


class Preparer:
    """Prepares templates; what was prepared once is found again."""

    def __init__(self, layout: Layout, assets: AssetStore, environments: EnvironmentCache) -> None:
        self._layout, self._assets, self._environments = layout, assets, environments

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        """As :meth:`controlplane.domain.ports.Backend.prepare`."""
        log = self._layout.preparations / f"{template.hash}.log"

        def tell(line: str) -> None:
            with log.open("a") as file:
                file.write(line + "\n")
            progress(line)

        try:
            wanted = await asyncio.to_thread(self._inspect, template)
            key = await self._environments.key(wanted.environment, wanted.scorer_extras)
            environment = self._environments.find(key)
            if environment is None:
                await asyncio.to_thread(self._remember, template, key)
                environment = await self._environments.ensure(key, wanted.environment, wanted.scorer_extras, tell)
                tell("the environment is ready")
        except EnvironmentFileError as error:
            raise PreparationError("EnvironmentInvalid", str(error)) from error
        except OSError as error:
            raise disk_error(error, "preparing the deployment") from error
        if template.strict_environment:
            _refuse_differences(environment.differences)
        texts = tuple(each.text for each in environment.differences)
        return Preparation(key, (*texts, *_about_the_machine(template)))

    def files_of(self, template: InstanceTemplate) -> tuple[Path | None, Path | None]:
        """Where the template's code and model were uploaded to.

        Raises:
            PreparationError: they are not there any more.
        """
        return (
            self._path(template.code, "code"),
            self._path(template.model.asset if template.model else None, "model"),
        )

    def environment_of(self, preparation: Preparation) -> Environment:
        """The environment that was prepared.

        Raises:
            PreparationError: somebody has removed it since.
        """
        environment = self._environments.find(preparation.token)
        if environment is None:
            raise PreparationError("EnvironmentGone", "the environment was removed after it was built", transient=True)
        return environment

    def logs(self, template_hash: str) -> tuple[Path, ...]:
        """What was said while preparing, and what the tools printed."""
        said = self._layout.preparations / f"{template_hash}.log"
        try:
            known = json.loads((self._layout.preparations / f"{template_hash}.json").read_bytes())
            return said, self._environments.log_of(known["environment"])
        except (OSError, ValueError, KeyError, TypeError):
            return (said,)

    def _inspect(self, template: InstanceTemplate) -> hosted.Fitted:
        code, _ = self.files_of(template)
        _check_script(template.scoring_script, code)
        scripts = [] if code is None else [code] if code.is_file() else sorted(code.rglob("*.py"))
        fitted = hosted.fit(_read(template.environment), hosted.imports_of(scripts))
        extras = (*fitted.scorer_extras, "tokens") if template.takes_tokens else fitted.scorer_extras
        return replace(fitted, scorer_extras=extras)

    def _remember(self, template: InstanceTemplate, key: str) -> None:
        path = self._layout.preparations / f"{template.hash}.json"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.replace(path, json.dumps({"environment": key}))

    def _path(self, asset: Asset | None, what: str) -> Path | None:
        if asset is None:
            return None
        try:
            return self._assets.path(asset)
        except NotFoundError as error:
            raise PreparationError("AssetNotFound", f"the deployment's {what} is not there: {error}") from error


def _read(spec: EnvironmentSpec) -> WantedEnvironment:
    wanted = WantedEnvironment()
    if spec.conda_file:
        wanted = conda.read(spec.conda_file)
    elif spec.pip_requirements:
        wanted = requirements.read(spec.pip_requirements)
    unused = [f"the image {spec.image}"] if spec.image else []
    unused += ["the image to be built"] if spec.build else []
    said = tuple(Difference(f"{each} is not used: instances are processes, with the packages alone") for each in unused)
    return replace(wanted, differences=(*said, *wanted.differences))


def _check_script(script: str, code: Path | None) -> None:
    if not script or code is None:
        return
    folder = code if code.is_dir() else code.parent
    found = (folder / script).resolve()
    if found.is_file() and found.is_relative_to(folder.resolve()):
        return
    have = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    near = difflib.get_close_matches(script, have, n=1, cutoff=0.5)
    meant = f"; did you mean '{near[0]}'?" if near else f" (it has {', '.join(have[:5])})" if have else ""
    raise PreparationError("ScriptNotFound", f"the code folder '{code.name}' has no '{script}'{meant}")


def _about_the_machine(template: InstanceTemplate) -> tuple[str, ...]:
    if not template.instance_type:
        return ()
    return (f"instance_type {template.instance_type} sets no limits: instances are processes that share this machine",)


def _refuse_differences(differences: tuple[Difference, ...]) -> None:
    if told := [each.text for each in differences if not each.equivalent]:
        raise PreparationError(
            "EnvironmentDiffers", f"strict_environment is set, and the environment would differ: {'; '.join(told)}"
        )
