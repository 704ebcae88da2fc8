"""The server rules of delta xDS, one by one. Each was learned by watching Envoy do something else than expected."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from gateway.snapshot import Resource, ResourceType
from gateway.subscription import MAX_RESOURCES_PER_RESPONSE, Response, Subscription

CDS, EDS, RDS = ResourceType.CLUSTER, ResourceType.ENDPOINTS, ResourceType.ROUTE


def present(kind: ResourceType, **bodies: str) -> dict[str, Resource]:
    return {name: Resource.of(kind, name, body.encode()) for name, body in bodies.items()}


def subscription(kind: ResourceType) -> Subscription:
    numbers = count(1)
    return Subscription(kind, lambda: str(next(numbers)))


def flush(sub: Subscription, resources: dict[str, Resource]) -> list[Response]:
    return list(sub.flush(resources, upserts=True, removals=True))


def sent(responses: Iterable[Response]) -> list[list[str]]:
    return [[resource.name for resource in response.resources] for response in responses]


class TestRule1Wildcard:
    def test_an_empty_first_subscription_means_everything(self) -> None:
        sub, clusters = subscription(CDS), present(CDS, a="1", b="1")
        sub.subscribe((), (), {}, clusters)
        assert sent(flush(sub, clusters)) == [["a", "b"]]

    def test_it_is_answered_even_when_there_is_nothing(self) -> None:
        sub = subscription(CDS)
        sub.subscribe((), (), {}, {})
        (response,) = flush(sub, {})
        assert (response.resources, response.removed) == ((), ())
        assert flush(sub, {}) == []

    def test_types_asked_for_by_name_have_no_wildcard(self) -> None:
        sub, assignments = subscription(EDS), present(EDS, a="1")
        sub.subscribe((), (), {}, assignments)
        assert flush(sub, assignments) == []

    def test_a_later_empty_request_is_an_ack_not_a_wildcard(self) -> None:
        sub, routes = subscription(CDS), present(CDS, a="1", b="1")
        sub.subscribe(["a"], (), {}, routes)
        flush(sub, routes)
        sub.subscribe((), (), {}, routes)
        assert not sub.wildcard
        assert not sub.mark("b")

    def test_wildcards_go_out_whole(self) -> None:
        clusters = {f"c{i}": Resource.of(CDS, f"c{i}", b"x") for i in range(MAX_RESOURCES_PER_RESPONSE + 5)}
        sub = subscription(CDS)
        sub.subscribe((), (), {}, clusters)
        assert [len(names) for names in sent(flush(sub, clusters))] == [MAX_RESOURCES_PER_RESPONSE + 5]


class TestRule2Reconnect:
    def test_equal_versions_are_not_sent_again(self) -> None:
        clusters = present(CDS, a="1", b="new", c="1")
        versions = {"a": clusters["a"].version, "b": "old", "gone": "old"}
        sub = subscription(CDS)
        sub.subscribe((), (), versions, clusters)
        first, second = flush(sub, clusters)
        assert sent([first]) == [["b", "c"]]
        assert second.removed == ("gone",)
        assert first.updated == ("b",)

    def test_named_types_too(self) -> None:
        routes = present(RDS, a="1", b="new")
        sub = subscription(RDS)
        sub.subscribe(["a", "b"], (), {"a": routes["a"].version, "b": "old"}, routes)
        assert sent(flush(sub, routes)) == [["b"]]
        assert sub.settled("a", routes["a"].version)


class TestRule3Missing:
    def test_a_name_that_is_not_there_is_answered_as_removed(self) -> None:
        sub = subscription(RDS)
        sub.subscribe(["ghost"], (), {}, {})
        (response,) = flush(sub, {})
        assert response.removed == ("ghost",)

    def test_and_sent_once_it_appears(self) -> None:
        sub = subscription(RDS)
        sub.subscribe(["late"], (), {}, {})
        flush(sub, {})
        routes = present(RDS, late="1")
        assert sub.mark("late")
        assert sent(flush(sub, routes)) == [["late"]]


class TestRule4Again:
    def test_subscribing_again_means_send_again(self) -> None:
        sub, assignments = subscription(EDS), present(EDS, a="1")
        sub.subscribe(["a"], (), {}, assignments)
        flush(sub, assignments)
        sub.subscribe(["a"], (), {}, assignments)
        assert sent(flush(sub, assignments)) == [["a"]]

    def test_nothing_is_sent_twice_unasked(self) -> None:
        sub, assignments = subscription(EDS), present(EDS, a="1")
        sub.subscribe(["a"], (), {}, assignments)
        flush(sub, assignments)
        sub.mark("a")
        assert flush(sub, assignments) == []

    def test_what_is_unsubscribed_is_forgotten(self) -> None:
        sub, assignments = subscription(EDS), present(EDS, a="1")
        sub.subscribe(["a"], (), {}, assignments)
        flush(sub, assignments)
        assert sub.subscribe((), ["a"], {}, assignments) == ["a"]
        assert not sub.mark("a")
        assert sub.settled("a", None)
        assert sub.quiet


class TestRule6Force:
    def test_a_forced_name_goes_out_although_it_is_known(self) -> None:
        sub, assignments = subscription(EDS), present(EDS, a="1")
        sub.subscribe(["a"], (), {}, assignments)
        flush(sub, assignments)
        sub.force("a")
        assert sent(flush(sub, assignments)) == [["a"]]

    def test_it_waits_for_its_subscription(self) -> None:
        sub, assignments = subscription(EDS), present(EDS, a="1")
        sub.force("a")
        assert flush(sub, assignments) == []
        sub.subscribe(["a"], (), {"a": assignments["a"].version}, assignments)
        assert sent(flush(sub, assignments)) == [["a"]]


class TestRule7Nack:
    def test_several_refused_together_are_sent_again_alone(self) -> None:
        sub, clusters = subscription(CDS), present(CDS, good="1", bad="1")
        sub.subscribe((), (), {}, clusters)
        (both,) = flush(sub, clusters)
        assert sub.nack(both.nonce, "no") == ()
        assert not sub.settled("good", clusters["good"].version)
        alone = flush(sub, clusters)
        assert sent(alone) == [["good"], ["bad"]]
        assert sub.ack(alone[0].nonce) == ("good",)
        assert sub.nack(alone[1].nonce, "bad is bad") == ("bad",)
        assert sub.settled("good", clusters["good"].version)
        assert sub.rejected["bad"].reason == "bad is bad"

    def test_one_refused_alone_is_not_sent_again(self) -> None:
        sub, clusters = subscription(CDS), present(CDS, bad="1")
        sub.subscribe((), (), {}, clusters)
        (response,) = flush(sub, clusters)
        sub.nack(response.nonce, "no")
        sub.mark("bad")
        assert flush(sub, clusters) == []
        assert not sub.settled("bad", clusters["bad"].version)

    def test_a_corrected_version_is_sent_and_clears_it(self) -> None:
        sub, clusters = subscription(CDS), present(CDS, bad="1")
        sub.subscribe((), (), {}, clusters)
        (response,) = flush(sub, clusters)
        sub.nack(response.nonce, "no")
        corrected = present(CDS, bad="2")
        sub.mark("bad")
        (response,) = flush(sub, corrected)
        assert sub.rejected == {}
        sub.ack(response.nonce)
        assert sub.settled("bad", corrected["bad"].version)


class TestAcks:
    def test_an_ack_of_an_older_answer_settles_nothing(self) -> None:
        sub, first = subscription(CDS), present(CDS, a="1")
        sub.subscribe((), (), {}, first)
        (old,) = flush(sub, first)
        second = present(CDS, a="2")
        sub.mark("a")
        (new,) = flush(sub, second)
        assert sub.ack(old.nonce) == ()
        assert not sub.settled("a", second["a"].version)
        assert sub.ack(new.nonce) == ("a",)
        assert sub.settled("a", second["a"].version)

    def test_an_unknown_nonce_is_ignored(self) -> None:
        assert subscription(CDS).ack("of a former server") == ()

    def test_removals_can_be_held_back(self) -> None:
        sub, clusters = subscription(CDS), present(CDS, a="1")
        sub.subscribe((), (), {}, clusters)
        (response,) = flush(sub, clusters)
        sub.ack(response.nonce)
        sub.mark("a")
        assert list(sub.flush({}, upserts=True, removals=False)) == []
        assert not sub.quiet
        (response,) = sub.flush({}, upserts=False, removals=True)
        assert response.removed == ("a",)
        assert not sub.settled("a", None)
        sub.ack(response.nonce)
        assert sub.settled("a", None)
        assert sub.quiet

    def test_large_named_answers_are_split(self) -> None:
        routes = {f"r{i}": Resource.of(RDS, f"r{i}", b"x") for i in range(MAX_RESOURCES_PER_RESPONSE + 1)}
        sub = subscription(RDS)
        sub.subscribe(list(routes), (), {}, routes)
        assert [len(names) for names in sent(flush(sub, routes))] == [MAX_RESOURCES_PER_RESPONSE, 1]
