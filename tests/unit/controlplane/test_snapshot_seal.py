from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.snapshot_seal import SnapshotSeal

CONTENT = b"\x00\xff private key\n"


def test_only_the_same_master_key_opens_it(tmp_path: Path) -> None:
    sealed = SnapshotSeal(tmp_path / "master.key").close(CONTENT)
    assert b"private key" not in sealed
    assert SnapshotSeal(tmp_path / "master.key").open(sealed) == CONTENT
    SnapshotSeal(tmp_path / "other.key").close(CONTENT)
    for sealed_or_broken in (sealed, b"", b"x" * 100):
        with pytest.raises(ValueError, match="master key"):
            SnapshotSeal(tmp_path / "other.key").open(sealed_or_broken)


def test_a_master_key_that_is_missing_is_not_made_anew(tmp_path: Path) -> None:
    sealed = SnapshotSeal(tmp_path / "master.key").close(CONTENT)
    (tmp_path / "master.key").unlink()
    with pytest.raises(ValueError, match="is missing"):
        SnapshotSeal(tmp_path / "master.key").open(sealed)
    assert not (tmp_path / "master.key").exists()


def test_a_damaged_master_key_is_the_disks_error(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(b"short")
    with pytest.raises(OSError, match="is damaged"):
        SnapshotSeal(tmp_path / "master.key").close(CONTENT)
