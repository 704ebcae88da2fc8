"""A control plane without reconcilers, backend and gateway: the store and the use cases over it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controlplane.domain.changes import Change, Changes
from controlplane.domain.errors import UnsupportedError, Violation
from controlplane.domain.instances import InstanceTemplate
from controlplane.domain.operations import Caller
from controlplane.domain.registry import AssetRecord
from controlplane.domain.specs import Asset, AssetKind
from controlplane.store.database import Database
from controlplane.store.desired_state import SqlDesiredState
from controlplane.store.store import Store
from controlplane.store.vault import Vault
from controlplane.usecases.credentials import CredentialUseCases
from controlplane.usecases.deployments import DeploymentUseCases
from controlplane.usecases.endpoints import EndpointUseCases
from controlplane.usecases.es256 import Es256
from controlplane.usecases.keys import KeyRing
from controlplane.usecases.ledger import Ledger
from controlplane.usecases.signing import SigningKeys
from controlplane.usecases.tokens import TokenUseCases

CALLER = Caller(actor="tester", request_id="request-1")
CODE = Asset(sha256="c" * 64, kind=AssetKind.FOLDER, basename="src", size_bytes=10)
ROTATION, LIFETIME = timedelta(hours=10), timedelta(hours=1)
FILE = Asset(sha256="f" * 64, kind=AssetKind.FILE, basename="model.pkl", size_bytes=20)


class ManualClock:
    """Time that moves by a second with every reading, so that nothing happens at the same moment."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def advance(self, period: timedelta) -> None:
        self._now += period


class CountingRandomness:
    """Chance that repeats from run to run."""

    def __init__(self) -> None:
        self._count = itertools.count(1)

    def skip(self, numbers: int) -> None:
        """Begin elsewhere, so that two runs on one database do not meet."""
        self._count = itertools.count(1 + numbers)

    def uid(self) -> str:
        return f"{next(self._count):032x}"

    def key(self) -> str:
        return f"key-{next(self._count):039d}"

    def salt(self) -> str:
        return f"{next(self._count):032x}"


def refuse_mount_path(template: InstanceTemplate) -> None:
    """A backend without containers."""
    if template.model_mount_path:
        raise UnsupportedError(Violation("model_mount_path", "needs a backend with containers"))


@dataclass
class Platform:
    """The parts a test drives, and every change that was told."""

    store: Store
    desired: SqlDesiredState
    endpoints: EndpointUseCases
    deployments: DeploymentUseCases
    credentials: CredentialUseCases
    clock: ManualClock
    randomness: CountingRandomness
    ledger: Ledger
    told: list[Change]
    signing: SigningKeys
    tokens: TokenUseCases

    async def upload(self, *assets: Asset) -> None:
        """As if these had been uploaded."""
        async with self.store.write() as transaction:
            for asset in assets:
                await transaction.assets.add(AssetRecord(asset, self.clock.now()))


async def open_platform(folder: Path) -> Platform:
    """A platform with its database in ``folder``; close it with ``platform.store.close()``."""
    changes, clock, randomness = Changes(), ManualClock(), CountingRandomness()
    store = Store(Database(f"sqlite:///{folder}/penstock.db"), changes)
    await store.open(clock.now())
    told: list[Change] = []
    changes.subscribe(told.append)
    ledger = Ledger(clock, randomness)
    vault = Vault(folder / "master.key")
    keys = KeyRing(vault, randomness)
    signing = SigningKeys(
        store=store, vault=vault, randomness=randomness, clock=clock, algorithm=Es256(), rotation=ROTATION
    )
    return Platform(
        store=store,
        desired=SqlDesiredState(store, clock),
        endpoints=EndpointUseCases(store, ledger, keys, randomness),
        deployments=DeploymentUseCases(store, ledger, randomness, refuse_mount_path),
        credentials=CredentialUseCases(store, ledger, keys),
        clock=clock,
        randomness=randomness,
        ledger=ledger,
        told=told,
        signing=signing,
        tokens=TokenUseCases(store, ledger, signing, LIFETIME),
    )
