"""The rig with an Envoy that is kept as the control plane keeps it: adopted, watched, replaced."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Self

from controlplane.domain.backoff import Backoff
from controlplane.gateway_process import GatewayProcess
from gateway.settings import GatewaySettings
from tests.integration.gateway.rig import Rig


class KeptRig(Rig):
    """As :class:`Rig`; ``process`` is what looks after Envoy."""

    def __init__(self, **settings: int) -> None:
        super().__init__(**settings)
        self.settings = replace(self.settings, drain_seconds=2)
        self._control_plane()
        self.process = self.keeper()

    def keeper(self, settings: GatewaySettings | None = None) -> GatewayProcess:
        """What a control plane that starts on this folder makes."""
        return GatewayProcess(
            self.folder / "g",
            settings or self.settings,
            environment={"PATH": os.defpath},
            backoff=Backoff(first=0.05, cap=0.2),
            random_source=random.Random(1),
            longest_request_s=lambda: self.router.longest_request_ms() / 1000,
        )

    async def start_envoy(self) -> None:  # type: ignore[override]
        (self.folder / "g").mkdir(exist_ok=True)
        await self.process.start()
        await self.process.wait_ready(20)

    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except BaseException:
            await self.process.stop()
            raise

    async def __aexit__(self, *error: object) -> None:
        await self.process.close()
        await self.process._end_all(1.0)
        await super().__aexit__(*error)
