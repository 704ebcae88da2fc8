"""Keys at rest."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from controlplane.domain.errors import StoreError
from controlplane.store.vault import Vault


def test_a_key_comes_back(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "master.key").seal("uid", "primary", "the key")
    assert b"the key" not in sealed
    assert Vault(tmp_path / "master.key").open("uid", "primary", sealed) == "the key"


def test_the_master_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    Vault(tmp_path / "master.key").seal("uid", "primary", "the key")
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["master.key"]


def test_equal_keys_do_not_look_equal(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "master.key")
    assert vault.seal("uid", "primary", "k") != vault.seal("uid", "primary", "k")


def test_a_value_works_in_its_own_place_alone(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "master.key")
    sealed = vault.seal("uid", "primary", "the key")
    for uid, name in (("other", "primary"), ("uid", "secondary")):
        with pytest.raises(StoreError, match="cannot be decrypted"):
            vault.open(uid, name, sealed)
    with pytest.raises(StoreError, match="cannot be decrypted"):
        vault.open("uid", "primary", sealed[:-1])


def test_another_master_key_is_named(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "master.key").seal("uid", "primary", "the key")
    with pytest.raises(StoreError, match=r"other\.key is not the master key"):
        Vault(tmp_path / "other.key").open("uid", "primary", sealed)


def test_a_damaged_master_key_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(b"short")
    with pytest.raises(StoreError, match="has 5 bytes instead of 32"):
        Vault(tmp_path / "master.key").seal("uid", "primary", "the key")
    assert (tmp_path / "master.key").read_bytes() == b"short"
