"""The folder of one instance: made whole or not at all, read by the next control plane, thrown away at the end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from controlplane.backends.process import files
from controlplane.domain.instances import InstanceFailure, InstanceTemplate
from controlplane.domain.ports import AuthPolicy
from controlplane.domain.specs import ProbeSettings
from penstock.daemon import Daemon

_DRAFT, _TRASH = ".new-", ".old-"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a successor needs to know of an instance."""

    id: str
    endpoint: str
    template_hash: str
    socket: str
    liveness: ProbeSettings
    readiness: ProbeSettings
    grpc_socket: str = ""
    """Where its only worker answers gRPC; several do with ``.0``, ``.1`` and so on behind it. Empty: nobody does."""
    deployment: str = ""
    address: str = ""
    """``ADDRESS:PORT`` where it answers with mutual TLS, instead of at its sockets. Empty: at these."""
    grpc_address: str = ""

    @property
    def uri(self) -> str:
        """Where it answers, as :attr:`controlplane.domain.instances.InstanceObservation.address`."""
        return f"tls://{self.address}" if self.address else f"unix://{self.socket}"

    def grpc_uris(self) -> tuple[str, ...]:
        """Where it answers gRPC, likewise. All workers share a port."""
        if self.address:
            return (f"tls://{self.grpc_address}",) if self.grpc_address else ()
        return tuple(f"unix://{path}" for path in self.grpc_sockets())

    def grpc_sockets(self) -> tuple[str, ...]:
        """Where its workers answer gRPC. How many there are is the scorer's decision: seen once it is ready."""
        if not self.grpc_socket:
            return ()
        each = (f"{self.grpc_socket}.{worker}" for worker in itertools.count())
        return tuple(itertools.takewhile(os.path.exists, each)) or (self.grpc_socket,)

    def remove_sockets(self) -> None:
        """Remove all of them, whole or half made."""
        Path(self.socket).unlink(missing_ok=True)
        if self.grpc_socket:
            socket = Path(self.grpc_socket)
            for each in socket.parent.glob(f"{socket.name}*"):
                if each.is_dir():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    each.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class InstanceFiles:
    """Paths in one instance's folder."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def daemon(self) -> Daemon:
        """Its process."""
        return Daemon(self.folder / "process")

    @property
    def log(self) -> Path:
        """Its output."""
        return self.folder / "log"

    @property
    def policy(self) -> Path:
        """Who may call it."""
        return self.folder / "policy.json"

    @property
    def certificate(self) -> Path:
        """What it shows, with the key, where it answers at a port."""
        return self.folder / "tls.pem"

    @property
    def authority(self) -> Path:
        """What those must be signed by who call it there."""
        return self.folder / "ca.pem"

    @property
    def failure(self) -> Path:
        """Where the scorer writes why it could not load."""
        return self.folder / "failure.json"

    @property
    def code(self) -> Path:
        """Its own copy of the code."""
        return self.folder / "code"

    def model(self, template: InstanceTemplate) -> Path | None:
        """The folder that holds its model: ``azureml-models/NAME/VERSION``."""
        if template.model is None:
            return None
        return self.folder / "azureml-models" / template.model.name.name / template.model.name.version

    def manifest(self) -> Manifest | None:
        """What was written when it was made; None if that cannot be read."""
        try:
            known = json.loads((self.folder / "instance.json").read_bytes())
            for probe in ("liveness", "readiness"):
                known[probe] = ProbeSettings(**known[probe])
            return Manifest(**known)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_policy(self, policy: AuthPolicy) -> None:
        """Replace the policy; whoever reads it sees the old one or the new one."""
        files.replace(self.policy, json.dumps({"version": 1, "mode": policy.mode, **_accepted(policy)}))

    def ready_since(self) -> datetime | None:
        """Since when it answers, as last noted."""
        with contextlib.suppress(OSError, ValueError):
            return datetime.fromisoformat((self.folder / "ready").read_text())
        return None

    def note_ready(self, since: datetime | None) -> None:
        """Note that it answers, so that a successor does not take it out of service until it has asked."""
        if since is None:
            (self.folder / "ready").unlink(missing_ok=True)
        else:
            files.replace(self.folder / "ready", since.isoformat())

    def ended(self) -> tuple[datetime, InstanceFailure] | None:
        """When and why it ended, if that was noted."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads((self.folder / "ended.json").read_bytes())
            return datetime.fromisoformat(known.pop("ended")), InstanceFailure(**known)
        return None

    def note_ended(self, when: datetime, failure: InstanceFailure) -> None:
        """Note when and why it ended."""
        files.replace(self.folder / "ended.json", json.dumps({"ended": when.isoformat(), **asdict(failure)}))

    def throw_away(self) -> None:
        """Remove everything. Killed in the middle, :func:`existing` does the rest."""
        trash = self.folder.with_name(f"{_TRASH}{self.id}")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(trash)
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(trash)
            shutil.rmtree(trash)


def create(
    target: InstanceFiles,
    manifest: Manifest,
    template: InstanceTemplate,
    *,
    code: Path | None,
    model: Path | None,
    policy: AuthPolicy,
) -> None:
    """Make the folder with everything in it. ``code`` and ``model`` are what was uploaded.

    Raises:
        OSError: the disk is full, ...; nothing is left then, or what :func:`existing` removes.
    """
    draft = InstanceFiles(target.folder.with_name(f"{_DRAFT}{target.id}"))
    if draft.folder.exists():
        shutil.rmtree(draft.folder)
    draft.folder.mkdir(parents=True, mode=0o700)
    try:
        if code is not None:
            copy_writable(code, draft.code)
        place = draft.model(template)
        if model is not None and place is not None:
            place.mkdir(parents=True)
            link_into(model, place / model.name)
        draft.write_policy(policy)
        (draft.folder / "instance.json").write_text(json.dumps(asdict(manifest)))
        draft.folder.rename(target.folder)
    except BaseException:
        shutil.rmtree(draft.folder, ignore_errors=True)
        raise


def _accepted(policy: AuthPolicy) -> dict[str, object]:
    """The fields of the scorer's format that depend on the mode; see ``penstock_scorer.auth.policy``."""
    tokens = policy.tokens
    if tokens is None:
        keys = [{"name": name, "digest": digest} for name, digest in policy.keys]
        return {"salt": policy.salt, "keys": keys}
    jwks = [{"kid": key.kid, "kty": "EC", "crv": "P-256", "x": key.x, "y": key.y} for key in tokens.keys]
    return {
        "audience": tokens.audience,
        "issuer": tokens.issuer,
        "endpoint": policy.endpoint,
        "not_before": tokens.not_before,
        "jwks": {"keys": jwks},
    }


def existing(folder: Path) -> Iterator[InstanceFiles]:
    """Every instance's folder; removes what was half made or half thrown away when somebody was killed."""
    if not folder.exists():
        return
    for each in sorted(folder.iterdir()):
        if each.name.startswith((_DRAFT, _TRASH)):
            shutil.rmtree(each, ignore_errors=True)
        elif each.is_dir():
            yield InstanceFiles(each)


def copy_writable(source: Path, target: Path) -> None:
    """Copy a file or folder; the copies can be written to, whatever the originals say."""
    if source.is_dir():
        target.mkdir()
        for each in source.iterdir():
            copy_writable(each, target / each.name)
    else:
        shutil.copy2(source, target)
        target.chmod(stat.S_IMODE(target.stat().st_mode) | stat.S_IWUSR)


def link_into(source: Path, target: Path) -> None:
    """Make ``target`` the same file or folder without copying.

    Folders are real, for scripts walk them and most walkers follow no links; files are hard links, which stay when the
    original is removed, or symbolic ones where the two are on different file systems.
    """
    if source.is_dir():
        target.mkdir()
        for each in source.iterdir():
            link_into(each, target / each.name)
        return
    try:
        os.link(source, target)
    except OSError:
        target.symlink_to(source)
