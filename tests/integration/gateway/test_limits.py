"""What an endpoint's own limits do: rates, retries, ejection, slow start, stickiness. Real Envoy."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from gateway.routes import DeploymentRoute, Host, RateLimit, Retry, Sticky, StickyBy
from tests.integration.gateway.rig import BEARER, OTHER_KEY, Rig

pytestmark = pytest.mark.integration

SCORE = "/endpoints/e/score"
OTHER = {"authorization": f"Bearer {OTHER_KEY}"}


async def statuses(rig: Rig, count: int, headers: dict[str, str] | None = None, path: str = SCORE) -> list[int]:
    return [(await rig.get(path, headers)).status_code for _ in range(count)]


async def test_each_key_has_its_own_rate(rig: Rig) -> None:
    route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    await rig.router.apply(replace(route, rate_limit=RateLimit(3, 60)))
    assert await statuses(rig, 5) == [200, 200, 200, 429, 429]
    assert await statuses(rig, 4, OTHER) == [200, 200, 200, 429]
    # One bucket, whatever the address.
    assert await statuses(rig, 1, path="/api/v1/service/e/score") == [429]
    response = await rig.get(SCORE)
    assert (response.json()["error"]["code"], response.headers["retry-after"]) == ("RateLimited", "20")
    # Who has no key spends nobody's share, and is told the first thing first.
    assert await statuses(rig, 3, {}) == [401] * 3
    # One that is given more has more at once; without a limit there is none.
    await rig.router.apply(replace(route, rate_limit=RateLimit(5, 60)))
    assert 200 in await statuses(rig, 5)
    await rig.router.apply(route)
    await rig.arrived()
    assert await statuses(rig, 10) == [200] * 10


async def test_a_rate_is_shared_by_all_connections_and_fills_again(rig: Rig) -> None:
    route = rig.endpoint(rig.deployment("blue", "b1"), blue=100)
    await rig.router.apply(replace(route, rate_limit=RateLimit(20, 1)))
    load = rig.load(connections=8)
    load.limit = 100
    await load.run()
    assert 20 <= load.statuses[200] <= 60
    assert load.statuses[200] + load.statuses[429] == 100
    await asyncio.sleep(1.1)
    assert await statuses(rig, 10) == [200] * 10


async def test_the_limit_of_one_endpoint_is_not_anothers(rig: Rig) -> None:
    blue = rig.deployment("blue", "b1")
    for name in ("e", "f"):
        await rig.router.apply(replace(rig.endpoint(blue, name=name, blue=100), rate_limit=RateLimit(2, 60)))
    assert await statuses(rig, 3) == [200, 200, 429]
    assert await statuses(rig, 3, path="/endpoints/f/score") == [200, 200, 429]


@pytest.mark.parametrize("retry", list(Retry))
async def test_what_is_tried_again(rig: Rig, retry: Retry) -> None:
    """An instance that is not there can always be replaced by another: nothing was sent."""
    both = rig.deployment("blue", "b1", "b2")
    await rig.router.apply(replace(rig.endpoint(both, blue=100), retry=retry))
    rig.kill("b2")
    answers = Counter(await statuses(rig, 30))
    assert set(answers) == ({200, 502} if retry is Retry.NEVER else {200})


@pytest.mark.parametrize(("retry", "attempts"), [(Retry.NEVER, 1), (Retry.UNSENT, 1), (Retry.UNANSWERED, 2)])
async def test_a_request_that_kills_is_not_passed_round(rig: Rig, retry: Retry, attempts: int) -> None:
    hosts = ("b1", "b2", "b3")
    await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", *hosts), blue=100), retry=retry))
    await rig.arrived()
    assert (await rig.get("/endpoints/e/drop")).status_code == 502
    one_by_one = rig.endpoint(*(rig.deployment(name, name) for name in hosts), name="each")
    await rig.router.apply(one_by_one)
    paths = [(await rig.get("/endpoints/each/paths", azureml_model_deployment=name)).json()["paths"] for name in hosts]
    assert sum(path.count("/drop") for path in paths) == attempts


async def test_a_request_under_way_is_repeated_only_where_that_was_chosen(rig: Rig) -> None:
    both = rig.deployment("blue", "b1", "b2")
    for retry, outcomes in ((Retry.UNSENT, {200, 502}), (Retry.UNANSWERED, {200})):
        await rig.router.apply(replace(rig.endpoint(both, blue=100), retry=retry))
        await asyncio.gather(*(rig.get(SCORE) for _ in range(10)))  # the change is on each connection
        slow = [asyncio.create_task(rig.get("/endpoints/e/slow/300")) for _ in range(10)]
        await asyncio.sleep(0.1)
        rig.kill("b2")
        assert {(await task).status_code for task in slow} == outcomes
        rig.revive("b2")


async def test_a_dead_instance_is_avoided_before_anybody_removes_it(rig: Rig) -> None:
    """With nothing retried, what still reaches the dead one shows: three failures of each worker at most."""
    both = rig.deployment("blue", "b1", "b2")
    await rig.router.apply(replace(rig.endpoint(both, blue=100), retry=Retry.NEVER))
    rig.kill("b2")
    answers = await statuses(rig, 100)
    assert answers.count(502) <= 6
    assert answers[-50:] == [200] * 50


async def test_an_instance_that_is_back_is_used_again(rig: Rig) -> None:
    both = rig.deployment("blue", "b1", "b2")
    await rig.router.apply(rig.endpoint(both, blue=100))
    rig.kill("b2")
    await statuses(rig, 30)
    rig.revive("b2")
    async with asyncio.timeout(10):
        while (await rig.get(SCORE)).json()["instance"] != "b2":
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("hosts", [("b1",), ("b1", "b2"), ("b1", "b2", "b3")])
async def test_one_instance_always_stays(rig: Rig, hosts: tuple[str, ...]) -> None:
    """Requests that make every instance hang up must not leave the endpoint without any."""
    await rig.router.apply(replace(rig.endpoint(rig.deployment("blue", *hosts), blue=100), retry=Retry.NEVER))
    for _ in range(30):
        assert (await rig.get("/endpoints/e/drop")).json()["error"]["code"] == "InstanceFailed"
    assert await statuses(rig, 10) == [200] * 10


async def test_a_models_errors_eject_nobody(rig: Rig) -> None:
    await rig.router.apply(rig.endpoint(rig.deployment("blue", "b1", "b2"), blue=100))
    for _ in range(20):
        assert (await rig.get("/endpoints/e/code/503")).status_code == 424
    assert {(await rig.get(SCORE)).json()["instance"] for _ in range(30)} == {"b1", "b2"}


async def test_a_new_instance_is_given_its_share_slowly(rig: Rig) -> None:
    def slowly(*hosts: str) -> DeploymentRoute:
        # As many are wanted before as after: another number is another cluster, in which every instance is new.
        return replace(rig.deployment("blue", *hosts), slow_start_ms=1_500, instance_count=2)

    async def share(name: str) -> float:
        answers = [(await rig.get(SCORE)).json()["instance"] for _ in range(60)]
        return answers.count(name) / 60

    rig.host("b2")
    await rig.router.apply(rig.endpoint(slowly("b1"), blue=100))
    await asyncio.sleep(1.6)  # its own window passes
    await rig.router.apply(rig.endpoint(slowly("b1", "b2"), blue=100))
    assert await share("b2") < 0.35
    await asyncio.sleep(1.6)
    assert await share("b2") > 0.35


async def who(rig: Rig, headers: dict[str, str]) -> set[tuple[str, str]]:
    answers = [await rig.get(SCORE, BEARER | headers) for _ in range(8)]
    return {(a.headers["azureml-model-deployment"], a.json()["instance"]) for a in answers}


@pytest.mark.parametrize("by", list(StickyBy))
async def test_one_client_stays_with_one_deployment_and_one_instance(rig: Rig, by: StickyBy) -> None:
    def sticky(name: str, *hosts: str) -> DeploymentRoute:
        return replace(rig.deployment(name, *hosts), sticky_instances=True)

    def of(user: int) -> dict[str, str]:
        return {"x-user": f"user-{user}"} if by is StickyBy.HEADER else {"cookie": f"a=b; x-user=user-{user}"}

    split = rig.endpoint(sticky("blue", "b1", "b2"), sticky("green", "g1", "g2"), blue=50, green=50)
    await rig.router.apply(replace(split, sticky=Sticky(by, "x-user")))
    homes = {user: await who(rig, of(user)) for user in range(60)}
    assert all(len(home) == 1 for home in homes.values())
    assert {next(iter(home)) for home in homes.values()} == {
        ("blue", "b1"),
        ("blue", "b2"),
        ("green", "g1"),
        ("green", "g2"),
    }
    # Without the value there is nothing to hold on to.
    assert len({pair for _ in range(4) for pair in await who(rig, {})}) == 4
    # Pinned is pinned.
    assert {name for name, _ in await who(rig, of(1) | {"azureml-model-deployment": "green"})} == {"green"}
    # An instance that dies moves its clients alone.
    rig.kill("b2")
    for user, home in homes.items():
        now = await who(rig, of(user))
        if home != {("blue", "b2")}:
            assert now == home
        else:
            assert now == {("blue", "b1")}


async def test_a_sticky_split_is_the_split_over_many_clients(rig: Rig) -> None:
    split = rig.endpoint(rig.deployment("blue", "b1"), rig.deployment("green", "g1"), blue=80, green=20)
    await rig.router.apply(replace(split, sticky=Sticky(StickyBy.HEADER, "x-user")))
    homes = Counter()
    for user in range(600):
        response = await rig.get(SCORE, x_user=f"user-{user}")
        homes[response.headers["azureml-model-deployment"]] += 1
    assert abs(homes["green"] - 120) <= 3 * (600 * 0.2 * 0.8) ** 0.5


async def test_hosts_with_no_way_in(rig: Rig) -> None:
    """A socket nobody made: a connection refused, told as such."""
    nobody = DeploymentRoute("blue", (Host("b1", f"unix://{rig.folder}/nobody"),))
    await rig.router.apply(rig.endpoint(nobody, blue=100))
    response = await rig.get(SCORE)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "InstanceFailed")
