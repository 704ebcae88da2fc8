"""What use cases need of the store, of randomness and of the vault. :mod:`controlplane.store` plugs in."""

# ruff: noqa: D102  # what the repositories' methods do is said once, in controlplane/store
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from controlplane.domain.changes import Change, Changes
from controlplane.domain.instances import InstanceRecord
from controlplane.domain.operations import AuditEvent, OperationError, OperationRecord, Verb
from controlplane.domain.records import DeploymentRecord, EndpointRecord
from controlplane.domain.registry import AssetRecord, Registered
from controlplane.domain.signing import PublicKey, SigningKey
from controlplane.domain.specs import EnvironmentSpec, ModelSpec

SpecT = TypeVar("SpecT", ModelSpec, EnvironmentSpec)


class Endpoints(Protocol):
    """Endpoints and their sealed keys."""

    async def get(self, name: str) -> EndpointRecord | None: ...
    async def by_uid(self, uid: str) -> EndpointRecord | None: ...
    async def page(self, after: str, limit: int) -> Sequence[EndpointRecord]: ...
    async def add(self, record: EndpointRecord) -> None: ...
    async def save(self, record: EndpointRecord) -> None: ...
    async def seal(self, uid: str, sealed: Mapping[str, bytes]) -> None: ...
    async def sealed(self, uid: str) -> Mapping[str, bytes]: ...


class Deployments(Protocol):
    """Deployments."""

    async def get(self, endpoint: str, name: str) -> DeploymentRecord | None: ...
    async def by_uid(self, uid: str) -> DeploymentRecord | None: ...
    async def of_endpoint(self, endpoint_uid: str) -> Sequence[DeploymentRecord]: ...
    async def page(self, endpoint: str | None, after: tuple[str, str], limit: int) -> Sequence[DeploymentRecord]: ...
    async def names(self, endpoint_uids: Collection[str]) -> Mapping[str, Sequence[str]]: ...
    async def add(self, record: DeploymentRecord, endpoint_uid: str) -> None: ...
    async def save(self, record: DeploymentRecord) -> None: ...


class Registry(Protocol[SpecT]):
    """Versions of models or environments."""

    async def get(self, name: str, version: str) -> Registered[SpecT] | None: ...
    async def page(
        self, name: str | None, after: tuple[str, int], limit: int
    ) -> Sequence[tuple[int, Registered[SpecT]]]: ...
    async def next_version(self, name: str, asked: str) -> str: ...
    async def add(self, record: Registered[SpecT]) -> None: ...
    async def save(self, record: Registered[SpecT]) -> None: ...
    async def remove(self, uid: str) -> None: ...
    async def users(self, uid: str) -> Sequence[str]: ...


class SigningKeyStore(Protocol):
    """The keys that sign tokens."""

    async def all(self) -> Sequence[SigningKey]: ...
    async def add(self, key: SigningKey, sealed: bytes) -> None: ...
    async def save(self, key: SigningKey) -> None: ...
    async def remove(self, kids: Collection[str]) -> None: ...
    async def sealed(self, kid: str) -> bytes: ...


class Assets(Protocol):
    """What was uploaded."""

    async def get(self, sha256: str) -> AssetRecord | None: ...
    async def add(self, record: AssetRecord) -> AssetRecord: ...


class Instances(Protocol):
    """Records of instances."""

    async def of_endpoint(self, endpoint_uid: str) -> Sequence[InstanceRecord]: ...
    async def by_ids(self, ids: Collection[str]) -> Sequence[InstanceRecord]: ...
    async def page(
        self, endpoint: str | None, deployment: str | None, after: str, limit: int
    ) -> Sequence[InstanceRecord]: ...


class Operations(Protocol):
    """Operations."""

    async def get(self, operation: str) -> OperationRecord | None: ...
    async def pending(self, target_uid: str, verb: Verb) -> OperationRecord | None: ...
    async def page(self, after: tuple[datetime, str] | None, limit: int) -> Sequence[OperationRecord]: ...
    async def add(self, record: OperationRecord) -> None: ...
    async def end(
        self,
        target_uid: str,
        now: datetime,
        *,
        verbs: Collection[Verb] = ...,
        generation: int | None = None,
        error: OperationError | None = None,
    ) -> None: ...
    async def remove(self, operation: str) -> None: ...


class Audit(Protocol):
    """Who did what."""

    async def add(self, happened: AuditEvent) -> None: ...


class Transaction(Protocol):
    """A repository per kind, within one transaction."""

    @property
    def endpoints(self) -> Endpoints: ...
    @property
    def deployments(self) -> Deployments: ...
    @property
    def models(self) -> Registry[ModelSpec]: ...
    @property
    def environments(self) -> Registry[EnvironmentSpec]: ...
    @property
    def signing_keys(self) -> SigningKeyStore: ...
    @property
    def assets(self) -> Assets: ...
    @property
    def instances(self) -> Instances: ...
    @property
    def operations(self) -> Operations: ...
    @property
    def audit(self) -> Audit: ...

    def tell(self, *changes: Change) -> None:
        """Have listeners hear of this once it is committed."""


class Store(Protocol):
    """Short transactions; nothing outside the store is waited for while one is open."""

    @property
    def changes(self) -> Changes:
        """Where listeners subscribe."""

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """A consistent view."""

    def write(self) -> AbstractAsyncContextManager[Transaction]:
        """All of it is stored, and then told, or none of it is."""


class Vault(Protocol):
    """Encrypts keys at rest."""

    def seal(self, endpoint_uid: str, name: str, key: str) -> bytes:
        """``key`` encrypted."""

    def open(self, endpoint_uid: str, name: str, sealed: bytes) -> str:
        """The key. Raises StoreError when it cannot be decrypted."""


class TokenSigner(Protocol):
    """Makes keys and signatures. Slow: call it off the event loop."""

    def generate(self, kid: str) -> tuple[PublicKey, str]:
        """A new key: its public part, and the private one as text."""

    def sign(self, public: PublicKey, private: str, claims: Mapping[str, str | int]) -> str:
        """A token."""


class Randomness(Protocol):
    """Chance, injected."""

    def uid(self) -> str:
        """32 hex digits."""

    def key(self) -> str:
        """A new endpoint key of 256 bits."""

    def salt(self) -> str:
        """32 hex digits."""
