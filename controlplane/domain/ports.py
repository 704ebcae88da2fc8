"""What the control plane needs of the outside: the ports its parts are plugged into.

Reconcilers and use cases see these protocols, never a concrete backend, clock or store;
:mod:`controlplane.server` plugs them in. The gateway's port is :class:`gateway.routes.Router`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from controlplane.domain.instances import InstanceObservation, InstanceTemplate
from controlplane.domain.signing import PublicKey, SigningKey
from controlplane.domain.specs import Asset


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> datetime:
        """The present moment, in UTC and aware of it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""


class AssetStore(Protocol):
    """Uploaded content on this machine."""

    def path(self, asset: Asset) -> Path:
        """Where the file or the folder lies, under its own name. Read only; it never changes and need not be copied.

        Raises:
            NotFoundError: it was never uploaded, or its files are gone.
        """


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was made ready for a template: a token only the backend reads, and what differs from what was asked."""

    token: str
    differences: tuple[str, ...] = ()
    """One sentence each, such as "python 3.8 -> 3.10 (3.8 is too old for the scorer)"."""


class PreparationError(Exception):
    """A template cannot be made ready. Trying again without a change will not help unless ``transient``."""

    def __init__(self, reason: str, message: str, *, detail: str = "", transient: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        """CamelCase, for the condition: ``EnvironmentBuildFailed``, ``ScriptNotFound``, ``DiskFull``, ..."""
        self.detail = detail
        """The end of the build's output, or the like."""
        self.transient = transient


class LogKind(StrEnum):
    """Which log of a deployment."""

    INFERENCE_SERVER = "inference-server"
    STORAGE_INITIALIZER = "storage-initializer"


@dataclass(frozen=True, slots=True)
class LogLines:
    """Some lines of one instance's log, without line ends, in order."""

    instance: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Which tokens instances accept."""

    issuer: str
    audience: str
    not_before: int
    """Unix seconds: tokens issued earlier are revoked."""
    keys: tuple[PublicKey, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """What the instances of an endpoint accept, so that one reached directly is closed too.

    Holds salted digests, never keys; of signing keys the public part alone.
    """

    endpoint: str
    mode: str
    """``key`` or ``aml_token``, as :class:`controlplane.domain.specs.AuthMode`."""
    salt: str
    """Hex."""
    keys: tuple[tuple[str, str], ...] = ()
    """Pairs (client name, lower-case hex SHA-256 of salt bytes + key)."""
    tokens: TokenPolicy | None = None
    """In the mode ``aml_token``."""


class SigningKeys(Protocol):
    """The keys that sign tokens, as the loops see them. Each call is one short transaction."""

    async def turn(self, *, needed: bool) -> Sequence[SigningKey]:
        """Make and forget keys as is due (the first when it is ``needed``), and return those that must be known."""

    async def published(self, kids: Sequence[str]) -> None:
        """Every gateway knows these keys, so that they may sign from a moment on."""


class Backend(Protocol):
    """Runs instances. Every call may be repeated, and may follow a crash of the control plane at any line."""

    def check(self, template: InstanceTemplate) -> None:
        """Refuse at once what this backend cannot honour.

        Raises:
            UnsupportedError: naming each field and why.
        """

    async def prepare(self, template: InstanceTemplate, progress: Callable[[str], None]) -> Preparation:
        """Build the environment and put model and code in place; returns at once when that was done before.

        May take minutes. ``progress`` is told one line for a person now and then. Cancelling it is safe.

        Raises:
            PreparationError: with the cause in one sentence.
        """

    async def start(
        self, instance: str, template: InstanceTemplate, preparation: Preparation, policy: AuthPolicy
    ) -> None:
        """Launch an instance and return, without waiting for it to answer. Does nothing if it was launched before.

        Raises:
            PreparationError: it could not be launched (a full disk, say).
        """

    async def stop(self, instance: str, grace_seconds: float) -> None:
        """Let an instance finish what it has, end it, and forget it. Returns when nothing of it is left.

        Does nothing for one that is not known.
        """

    async def observe(self) -> Mapping[str, InstanceObservation]:
        """Every instance there is, by id, those that ended and were not forgotten included. Cheap.

        Whoever calls finds here, too, what nothing owns any more, and stops it.
        """

    async def apply_policy(self, policy: AuthPolicy) -> None:
        """Give the instances of ``policy.endpoint`` a new policy; effective within a second."""

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the instance's id whenever what :meth:`observe` says of it has changed."""

    def logs(
        self, instances: tuple[str, ...], template_hash: str, kind: LogKind, lines: int, *, follow: bool
    ) -> AsyncIterator[LogLines]:
        """The last ``lines`` lines of each instance, then, with ``follow``, what is written from now on.

        ``template_hash`` names the preparation whose log is meant by ``LogKind.STORAGE_INITIALIZER``.
        """

    async def close(self) -> None:
        """Stop watching. What serves goes on serving."""
