"""The process backend: the port, put together from its parts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import structlog

from controlplane.backends.process import instance_files, log_stream
from controlplane.backends.process.command import RESERVED_PREFIX, command, instance_environment
from controlplane.backends.process.environments import EnvironmentCache
from controlplane.backends.process.failures import disk_error
from controlplane.backends.process.instance_files import InstanceFiles, Manifest
from controlplane.backends.process.layout import Layout
from controlplane.backends.process.over_tcp import InstanceTls, unreachable
from controlplane.backends.process.preparing import Preparer
from controlplane.backends.process.scorer_wheel import ScorerSource
from controlplane.backends.process.supervisor import Supervisor
from controlplane.backends.process.uv import Uv
from controlplane.domain.errors import UnsupportedError, Violation
from controlplane.domain.instances import InstanceObservation, InstanceTemplate
from controlplane.domain.ports import AssetStore, AuthPolicy, Clock, LogKind, LogLines, Preparation
from controlplane.domain.specs import ProbeSettings
from penstock.daemon import AlreadyRunningError, LogFile

_HOUSEKEEPING_SECONDS = 10.0
_log = structlog.get_logger()


class ProcessBackend:
    """:class:`controlplane.domain.ports.Backend` with processes of this machine."""

    def __init__(
        self,
        home: Path,
        assets: AssetStore,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        scorer: ScorerSource | None = None,
        uv: Uv | None = None,
        cores: int | None = None,
        tls: InstanceTls | None = None,
    ) -> None:
        """Keeps everything below ``home``.

        ``environ`` is the process's own environment, of which uv gets most and instances very little. ``scorer`` and
        ``uv`` are by default those that are installed with us, ``cores`` those we may run on. ``tls``: for instances
        at ports of this machine.

        Raises:
            FileNotFoundError: the scorer or uv is not installed.
        """
        self._layout = Layout(home.absolute())
        self._clock, self._environ, self._tls = clock, environ, tls
        self._dial = unreachable if tls is None else tls.dial
        self._cores = cores or len(os.sched_getaffinity(0))
        cache = EnvironmentCache(
            self._layout.environments, scorer or ScorerSource.installed(), uv or Uv.find(environ), environ
        )
        self._preparer = Preparer(self._layout, assets, cache)
        self._instances: dict[str, Supervisor] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._policies: dict[str, AuthPolicy] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._adopting = asyncio.Lock()
        self._choosing = threading.Lock()
        self._promised: dict[str, dict[str, str]] = {}
        """Addresses of instances that are being started."""
        self._housekeeper: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    def check(self, template: InstanceTemplate) -> None:
        """As the port says."""
        spec, violations = template.environment, list[Violation]()
        packages = spec.conda_file or spec.pip_requirements
        if spec.image and not packages:
            violations.append(
                Violation(
                    "environment.image", "instances are processes here; name the packages in a conda_file instead"
                )
            )
        if spec.build and not packages:
            violations.append(
                Violation(
                    "environment.build", "instances are processes here; name the packages in a conda_file instead"
                )
            )
        if spec.inference_config:
            violations.append(
                Violation("environment.inference_config", "a server of your own runs in a container, not in a process")
            )
        if template.model_mount_path:
            violations.append(
                Violation("model_mount_path", "a process has no file system of its own; read AZUREML_MODEL_DIR instead")
            )
        if not template.scoring_script or template.code is None:
            violations.append(Violation("code_configuration", "code and a scoring script are needed"))
        violations += [
            Violation(f"environment_variables.{name}", f"names with {RESERVED_PREFIX} are the platform's own")
            for name in template.environment_variables
            if name.startswith(RESERVED_PREFIX)
        ]
        if violations:
            raise UnsupportedError(*violations, hint="Use a backend with containers, or change the deployment.")

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        """As the port says."""
        return await self._preparer.prepare(template, progress)

    async def start(
        self, instance: str, template: InstanceTemplate, preparation: Preparation, policy: AuthPolicy
    ) -> None:
        """As the port says."""
        await self._adopt()
        policy = self._policies.setdefault(policy.endpoint, policy)
        async with self._locked(instance):
            known = self._instances.get(instance)
            if known is not None and known.launched:
                return
            try:
                supervisor = await asyncio.to_thread(self._launch, instance, template, preparation, policy)
                self._instances[instance] = supervisor
            except OSError as error:
                raise disk_error(error, "starting the instance") from error
            finally:
                self._promised.pop(instance, None)
            latest = self._policies[policy.endpoint]
            if latest != policy:  # it changed while we were at it
                await asyncio.to_thread(supervisor.files.write_policy, latest)
            supervisor.watch()
        self._changed(instance)

    async def stop(self, instance: str, grace_seconds: float) -> None:
        """As the port says.

        Raises:
            StubbornError: some of it hangs in the kernel; it may be tried again.
        """
        await self._adopt()
        async with self._locked(instance):
            supervisor = self._instances.get(instance)
            if supervisor is None:
                return
            await supervisor.stop(grace_seconds)
            del self._instances[instance]
        self._locks.pop(instance, None)
        self._changed(instance)

    async def observe(self) -> Mapping[str, InstanceObservation]:
        """As the port says."""
        await self._adopt()
        return {instance: supervisor.seen for instance, supervisor in self._instances.items()}

    async def apply_policy(self, policy: AuthPolicy) -> None:
        """As the port says."""
        await self._adopt()
        self._policies[policy.endpoint] = policy
        files = [each.files for each in self._instances.values() if each.manifest.endpoint == policy.endpoint]
        await asyncio.to_thread(_write_policy, files, policy)

    def on_change(self, listener: Callable[[str], None]) -> None:
        """As the port says."""
        self._listeners.append(listener)

    async def logs(
        self, instances: tuple[str, ...], template_hash: str, kind: LogKind, lines: int, *, follow: bool
    ) -> AsyncIterator[LogLines]:
        """As the port says. The lines of a preparation, which is shared by instances, go by no instance's name."""
        await self._adopt()
        if kind is LogKind.STORAGE_INITIALIZER:
            for path in self._preparer.logs(template_hash):
                async for found in log_stream.stream({"": LogFile(path)}, lines, follow=False):
                    yield found
            return
        logs = {each: self._instances[each].log for each in instances if each in self._instances}
        async for found in log_stream.stream(logs, lines, follow=follow):
            yield found

    async def close(self) -> None:
        """As the port says."""
        for task in filter(None, (self._housekeeper, self._renewing)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._instances.values()))

    def _launch(
        self, instance: str, template: InstanceTemplate, preparation: Preparation, policy: AuthPolicy
    ) -> Supervisor:
        files = InstanceFiles(self._layout.instances / instance)
        environment = self._preparer.environment_of(preparation)
        run = self._layout.run_folder()
        # Of an instance that was made by a control plane that was killed right afterwards.
        made = files.manifest()
        manifest = made or Manifest(
            id=instance,
            endpoint=template.endpoint,
            deployment=template.deployment,
            template_hash=template.hash,
            socket=str(run / f"{instance}.sock"),
            grpc_socket=str(run / f"{instance}.grpc") if environment.grpc else "",
            liveness=template.liveness_probe,
            readiness=template.readiness_probe,
            **self._addresses(instance, grpc=environment.grpc),
        )
        if not files.folder.exists():
            code, model = self._preparer.files_of(template)
            instance_files.create(files, manifest, template, code=code, model=model, policy=policy)
        else:
            files.write_policy(policy)
        manifest.remove_sockets()
        if self._tls is not None and manifest.address:
            self._tls.equip(files, manifest)
        # It may run already: launched by a control plane that was killed right afterwards.
        with contextlib.suppress(AlreadyRunningError):
            files.daemon.launch(
                command(environment.python, files, manifest, template),
                env=instance_environment(environment.python, files, template, self._environ, self._cores),
                cwd=files.code if files.code.is_dir() else files.folder,
                log=files.log,
            )
        return Supervisor(files, manifest, self._dial(manifest), self._clock, self._changed)

    async def _adopt(self) -> None:
        """Find what an earlier control plane left running, once."""
        async with self._adopting:
            if self._housekeeper is not None:
                return
            found = await asyncio.to_thread(self._existing)
            for supervisor in found:
                self._instances[supervisor.files.id] = supervisor
                supervisor.watch()
            self._housekeeper = asyncio.create_task(self._keep_house(), name="process backend housekeeping")
            if self._tls is not None:
                every = self._tls.keep(lambda: [(each.files, each.manifest) for each in self._instances.values()])
                self._renewing = asyncio.create_task(every, name="instances' certificates")

    def _existing(self) -> list[Supervisor]:
        # Made again here if the link to the sockets' folder was cleaned away.
        run = self._layout.run_folder()
        found = []
        for files in instance_files.existing(self._layout.instances):
            manifest = files.manifest() or _unreadable(files.id, str(run / f"{files.id}.sock"))
            found.append(Supervisor(files, manifest, self._dial(manifest), self._clock, self._changed))
        return found

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            try:
                await asyncio.to_thread(self._rotate_logs)
            except OSError as error:
                _log.warning("an instance's log cannot be rotated and grows", error=str(error))

    def _addresses(self, instance: str, *, grpc: bool) -> dict[str, str]:
        """The addresses of a new instance, as in :class:`Manifest`; none where it gets sockets."""
        if self._tls is None or not self._tls.host:
            return {}
        with self._choosing:
            taken = {address for promised in self._promised.values() for address in promised.values()}
            for supervisor in list(self._instances.values()):
                taken |= {supervisor.manifest.address, supervisor.manifest.grpc_address}
            address, *more = self._tls.addresses(taken, 2 if grpc else 1)
            self._promised[instance] = {"address": address, "grpc_address": more[0] if more else ""}
            return self._promised[instance]

    def _rotate_logs(self) -> None:
        for supervisor in list(self._instances.values()):
            supervisor.log.rotate()

    def _locked(self, instance: str) -> asyncio.Lock:
        return self._locks.setdefault(instance, asyncio.Lock())

    def _changed(self, instance: str) -> None:
        for listener in self._listeners:
            listener(instance)


def _write_policy(instances: Sequence[InstanceFiles], policy: AuthPolicy) -> None:
    for files in instances:
        with contextlib.suppress(FileNotFoundError):  # it was stopped meanwhile
            files.write_policy(policy)


def _unreadable(instance: str, socket: str) -> Manifest:
    """Of a folder that a power cut left without its manifest: nobody knows it, so it will be stopped."""
    probe = ProbeSettings()
    return Manifest(id=instance, endpoint="", template_hash="", socket=socket, liveness=probe, readiness=probe)
