from __future__ import annotations

import pytest

from gateway.snapshot import Change, DanglingReferenceError, Key, Resource, ResourceType, Snapshot

CLUSTER: Key = (ResourceType.CLUSTER, "e/blue")
HOSTS: Key = (ResourceType.ENDPOINTS, "e/blue")
ROUTE: Key = (ResourceType.ROUTE, "ep/e")


def cluster() -> Resource:
    return Resource.of(*CLUSTER, b"c", refs=(HOSTS,))


def hosts(body: bytes = b"h") -> Resource:
    return Resource.of(*HOSTS, body)


def route(*refs: Key) -> Resource:
    return Resource.of(*ROUTE, repr(refs).encode(), refs=refs)


def published(*resources: Resource) -> Snapshot:
    snapshot = Snapshot()
    snapshot.apply(Change(upserts=resources))
    return snapshot


def test_equal_content_is_no_change() -> None:
    snapshot = published(cluster(), hosts())
    assert snapshot.apply(Change(upserts=(cluster(), hosts(b"other")))) == (HOSTS,)


def test_a_reference_may_arrive_with_its_referrer() -> None:
    assert set(published(route(CLUSTER), cluster(), hosts()).resources(ResourceType.ROUTE)) == {"ep/e"}


def test_a_route_to_a_missing_cluster_is_refused_and_nothing_changes() -> None:
    snapshot = Snapshot()
    with pytest.raises(DanglingReferenceError, match="RouteConfiguration 'ep/e' would point at Cluster 'e/blue'"):
        snapshot.apply(Change(upserts=(hosts(), route(CLUSTER))))
    assert not snapshot.resources(ResourceType.ENDPOINTS)


def test_a_cluster_still_routed_to_cannot_go() -> None:
    snapshot = published(route(CLUSTER), cluster(), hosts())
    with pytest.raises(DanglingReferenceError):
        snapshot.apply(Change(removals=(CLUSTER, HOSTS)))


def test_it_can_go_with_its_route_or_after_the_route_let_go() -> None:
    snapshot = published(route(CLUSTER), cluster(), hosts())
    snapshot.apply(Change(upserts=(route(),), removals=(CLUSTER, HOSTS)))
    assert snapshot.get(CLUSTER) is None
    snapshot = published(route(CLUSTER), cluster(), hosts())
    assert set(snapshot.apply(Change(removals=(ROUTE, CLUSTER, HOSTS)))) == {ROUTE, CLUSTER, HOSTS}


def test_removing_what_is_not_there_is_no_change() -> None:
    assert Snapshot().apply(Change(removals=(CLUSTER,))) == ()
