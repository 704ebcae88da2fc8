"""What authentication costs at the gateway: ``python -m benchmarks.gateway.bench_auth``.

Envoy's own CPU time for a request, from the scheduler's clock (ns), with keys, with tokens, and without either: the
same Envoy, the same route, the same other filters. Rounds are short and alternate; the fastest tenth is compared, since
whatever else runs on the machine can only make a round slower.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import gateway.translate.listener as listener_module
from benchmarks.gateway.pinned import PinnedRig, pin_ourselves
from gateway.routes import AuthMode, EndpointAuth
from gateway.translate import auth, tokens
from gateway.translate.filters import http_filters
from tests.integration.gateway.rig import BEARER
from tests.integration.gateway.signing import Signer, trust

ROUNDS = 60
REQUESTS = 800
_AUTH = {auth.LUA_FILTER, auth.RBAC_FILTER, tokens.FILTER}
_SIGNER = Signer("bench")


@dataclass
class Contender:
    """One gateway with one way to authenticate."""

    name: str
    aim: str
    rig: PinnedRig
    headers: dict[str, str]
    costs: list[float] = field(default_factory=list)

    async def round(self) -> None:
        """Some requests, and what they cost."""
        load = self.rig.load(connections=16)
        load.limit, load.headers = REQUESTS, self.headers
        before = self._cpu_ns()
        await load.run()
        assert load.failures == 0, (self.name, load.statuses)
        self.costs.append((self._cpu_ns() - before) / REQUESTS / 1000)

    @property
    def cost(self) -> float:
        """Microseconds a request, in the fastest tenth of the rounds."""
        return sorted(self.costs)[len(self.costs) // 10]

    def _cpu_ns(self) -> int:
        threads = Path(f"/proc/{self.rig.envoy_pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


async def main() -> None:
    """Print the figures."""
    async with AsyncExitStack() as stack:
        contenders = [
            await stack.enter_async_context(_without_auth()),
            await stack.enter_async_context(_with("keys", ">= 75 %, 85 % wished for", EndpointAuth())),
            await stack.enter_async_context(_with("tokens", ">= 70 %", EndpointAuth(AuthMode.TOKEN))),
        ]
        for _ in range(ROUNDS):
            for contender in contenders:
                await contender.round()
    bare = contenders[0].cost
    print(f"gateway: Envoy's CPU a request ({ROUNDS} rounds of {REQUESTS}, load {os.getloadavg()[0]:.1f})")
    for contender in contenders:
        share = f"{bare / contender.cost:.0%} of the requests a core serves without auth (aim {contender.aim})"
        print(f"  {contender.name:<7} {contender.cost:6.1f} us" + (f": {share}" if contender.aim else ""))


@asynccontextmanager
async def _with(name: str, aim: str, accepted: EndpointAuth) -> AsyncIterator[Contender]:
    async with PinnedRig(concurrency=1) as rig:
        await rig.router.set_jwks(trust(_SIGNER))
        route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
        token = accepted.mode is AuthMode.TOKEN
        await rig.router.apply(replace(route, auth=accepted) if token else route)
        headers = {"authorization": f"Bearer {_SIGNER.token('e')}"} if token else BEARER
        yield Contender(name, aim, rig, headers)


@asynccontextmanager
async def _without_auth() -> AsyncIterator[Contender]:
    """The same filters less those of auth: what is compared is these and nothing else."""
    kept = [each for each in http_filters() if each.name not in _AUTH]
    filters = listener_module.filters
    filters.http_filters = lambda: kept
    try:
        rig = PinnedRig(concurrency=1)
    finally:
        filters.http_filters = http_filters
    async with rig:
        await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1"), blue=100))
        yield Contender("no auth", "", rig, BEARER)


if __name__ == "__main__":
    pin_ourselves()
    asyncio.run(main())
