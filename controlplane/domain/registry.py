"""What is registered once and used by name: models and environments by version, and the uploads behind them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from controlplane.domain.names import Versioned
from controlplane.domain.specs import Asset, EnvironmentSpec, ModelSpec

SpecT = TypeVar("SpecT", ModelSpec, EnvironmentSpec)


@dataclass(frozen=True, slots=True)
class Registered(Generic[SpecT]):
    """One version of a model or an environment. Its content never changes, its labels may."""

    name: Versioned
    uid: str
    etag: str
    spec: SpecT
    created: datetime


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """An upload that arrived whole."""

    asset: Asset
    created: datetime
