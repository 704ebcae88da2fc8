"""The snapshot on disk is what the gateways were told, whatever happens to the writer or the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal import Journal, Seal, load
from gateway.snapshot import Change, Key, Resource, ResourceType, Snapshot

CDS, EDS, RDS = ResourceType.CLUSTER, ResourceType.ENDPOINTS, ResourceType.ROUTE


class Kept:
    """A snapshot, and the journal that follows it."""

    def __init__(self, path: Path, seal: Seal | None = None) -> None:
        self.now = 0.0
        self.path = path
        self.seal = seal
        self.snapshot = Snapshot()
        self.journal = Journal(path, lambda: self.now, seal)
        self.journal.start(self.snapshot)

    def set(self, *resources: Resource, removals: tuple[Key, ...] = ()) -> None:
        self.journal.record(self.snapshot, self.snapshot.apply(Change(resources, removals)))

    def check(self) -> None:
        self.journal.close()
        loaded = load(self.path, self.seal)
        assert contents(loaded or Snapshot()) == contents(self.snapshot)


def contents(snapshot: Snapshot) -> dict[Key, Resource]:
    return {(kind, name): resource for kind in ResourceType for name, resource in snapshot.resources(kind).items()}


def test_what_was_recorded_is_read_with_versions_and_references(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "s")
    hosts = Resource.of(EDS, "e/blue", b"hosts")
    kept.set(hosts, Resource.of(CDS, "e/blue", b"a\nb=\n\x00", refs=(hosts.key,)))
    kept.set(Resource.of(EDS, "e/blue", b""))
    kept.set(Resource.of(RDS, "ep/e", b"x"))
    kept.set(removals=((RDS, "ep/e"),))
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["s"]
    kept.check()


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.binary(max_size=40))), max_size=40), st.data())
def test_any_changes_cut_at_any_byte_are_a_state_that_was(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes | None]], data: st.DataObject
) -> None:
    kept = Kept(tmp_path_factory.mktemp("journal") / "s")
    states = [contents(kept.snapshot)]
    for number, body in changes:
        if body is None:
            kept.set(removals=((RDS, f"ep/{number}"),))
        else:
            kept.set(Resource.of(RDS, f"ep/{number}", body))
        states.append(contents(kept.snapshot))
    kept.check()
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert contents(load(kept.path) or Snapshot()) in states


class Mirror:
    """A seal that writes backwards; a ``broken`` one does not work."""

    broken = False

    def close(self, content: bytes) -> bytes:
        if self.broken:
            raise OSError(5, "no key")
        return content[::-1]

    def open(self, sealed: bytes) -> bytes:
        if self.broken:
            raise ValueError("no key")
        return sealed[::-1]


CERTIFICATE = Resource.of(ResourceType.SECRET, "cert", b"private key")


def test_secrets_are_sealed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "s", Mirror())
    kept.set(Resource.of(ResourceType.SECRET, "cert", b"a former private key"))
    kept.set(CERTIFICATE, Resource.of(RDS, "ep/e", b"1"))
    assert b"private key" not in (tmp_path / "s").read_bytes()
    kept.check()
    without = load(tmp_path / "s")
    assert without is not None
    assert [key for key in contents(without) if key[0] is ResourceType.SECRET] == []
    assert without.get((RDS, "ep/e")) is not None


def test_secrets_stay_out_where_nothing_seals_them(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "s")
    kept.set(CERTIFICATE, Resource.of(RDS, "ep/e", b"1"))
    assert b"private" not in (tmp_path / "s").read_bytes()
    assert list(contents(load(tmp_path / "s") or Snapshot())) == [(RDS, "ep/e")]


def test_a_seal_that_does_not_work_costs_the_snapshot_alone(tmp_path: Path) -> None:
    seal = Mirror()
    kept = Kept(tmp_path / "s", seal)
    kept.set(Resource.of(RDS, "ep/e", b"1"))
    seal.broken = True
    kept.set(CERTIFICATE)
    assert b"private" not in (tmp_path / "s").read_bytes()
    seal.broken = False
    kept.now += 11
    kept.set(Resource.of(RDS, "ep/e", b"2"))
    kept.check()
    seal.broken = True
    assert load(tmp_path / "s", seal) is None


def test_outdated_entries_are_thrown_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.journal._REWRITE_BYTES", 1000)
    kept = Kept(tmp_path / "s")
    for number in range(1000):
        kept.set(Resource.of(RDS, "ep/e", b"%d" % number))
        assert kept.path.stat().st_size < 2500
    kept.check()


def test_a_full_disk_costs_the_snapshot_for_a_while_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path / "s")
    kept.set(Resource.of(RDS, "ep/e", b"1"))
    before = contents(kept.snapshot)
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        return real(descriptor, content[: len(content) // 2])

    monkeypatch.setattr("os.write", full)
    kept.set(Resource.of(RDS, "ep/e", b"2" * 100))
    monkeypatch.setattr("os.write", real)
    kept.set(Resource.of(RDS, "ep/e", b"3"))
    found = load(kept.path)
    assert found is not None
    assert contents(found) == before
    kept.now += 11
    kept.set(Resource.of(RDS, "ep/f", b"4"))
    kept.check()


@pytest.mark.parametrize("content", [None, b"", b"something else\n", b"penstock gateway snapshot 1\n"])
def test_no_snapshot_is_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "s").write_bytes(content)
    assert load(tmp_path / "s") is None


def test_a_folder_that_cannot_be_written_is_survived(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "gone" / "s")
    kept.set(Resource.of(RDS, "ep/e", b"1"))
    (tmp_path / "gone").mkdir()
    kept.now += 11
    kept.set(Resource.of(RDS, "ep/e", b"2"))
    kept.check()
