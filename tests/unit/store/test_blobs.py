"""Uploads on disk: whole or not at all, and only what is meant to be there."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import shutil
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from controlplane.domain.errors import (
    ChecksumMismatchError,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    ResourceExhaustedError,
)
from controlplane.domain.ports import AssetStore
from controlplane.domain.specs import Asset, AssetKind
from controlplane.domain.uploads import UploadHeader, check_header
from controlplane.store import blobs as module
from controlplane.store import unpack as unpack_module
from controlplane.store.blobs import BlobStore, Upload


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    opened = BlobStore(tmp_path / "blobs")
    opened.open()
    return opened


def header(content: bytes, kind: AssetKind = AssetKind.FILE, basename: str = "model.pkl") -> UploadHeader:
    return UploadHeader(hashlib.sha256(content).hexdigest(), len(content), kind, basename)


async def send(blobs: BlobStore, content: bytes, announced: UploadHeader, step: int = 1000) -> Asset:
    async with blobs.receive(announced) as upload:
        for start in range(0, len(content), step):
            await upload.write(content[start : start + step])
        await upload.finish()
    return announced.asset


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


def left(tmp_path: Path) -> list[str]:
    """Every file and folder below the blobs but the two that are always there."""
    root = tmp_path / "blobs"
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.name not in ("sha256", "incoming"))


def test_the_port_is_fulfilled(blobs: BlobStore) -> None:
    port: AssetStore = blobs
    assert port is blobs


async def test_a_file_lies_under_its_own_name(blobs: BlobStore) -> None:
    asset = await send(blobs, b"x" * 2500, header(b"x" * 2500))
    path = blobs.path(asset)
    assert (path.name, path.read_bytes()) == ("model.pkl", b"x" * 2500)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


async def test_an_empty_file_is_a_file(blobs: BlobStore) -> None:
    assert blobs.path(await send(blobs, b"", header(b""))).read_bytes() == b""


async def test_the_same_bytes_under_another_name_are_another_asset(blobs: BlobStore) -> None:
    one = await send(blobs, b"x", header(b"x", basename="one.pkl"))
    two = await send(blobs, b"x", header(b"x", basename="two.pkl"))
    assert blobs.path(one).name == "one.pkl"
    assert blobs.path(two).name == "two.pkl"


async def test_a_folder_is_unpacked_with_plain_modes(blobs: BlobStore) -> None:
    content = tar(
        (member("./", tarfile.DIRTYPE), b""),
        (member("pkg/deep/score.py", mode=0o600), b"x = 1"),
        (member("run.sh", mode=0o4777), b"#!"),
        (member("empty", tarfile.DIRTYPE, mode=0o000), b""),
        (member("long/" + "n" * 200 + ".txt"), b"pax"),
    )
    asset = await send(blobs, content, header(content, AssetKind.FOLDER, "src"))
    root = blobs.path(asset)
    assert root.name == "src"
    modes = {str(p.relative_to(root)): stat.S_IMODE(p.stat().st_mode) for p in root.rglob("*")}
    assert modes["pkg/deep/score.py"] == 0o444
    assert modes["run.sh"] == 0o555
    assert modes["empty"] == modes["pkg"] == 0o755
    assert (root / "pkg/deep/score.py").read_text() == "x = 1"


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("../out"),
        member("a/../../out"),
        member("link", tarfile.SYMTYPE, link="/etc/passwd"),
        member("link", tarfile.SYMTYPE, link="inside"),
        member("link", tarfile.LNKTYPE, link="inside"),
        member("device", tarfile.CHRTYPE),
        member("device", tarfile.BLKTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("inside"),
        member("inside/under-a-file"),
        member("n" * 300),
    ],
    ids=lambda info: f"{info.name[:20]}-{info.type!r}",
)
async def test_a_hostile_folder_leaves_nothing(blobs: BlobStore, tmp_path: Path, bad: tarfile.TarInfo) -> None:
    content = tar((member("inside"), b"1"), (bad, b""))
    with pytest.raises(InvalidArgumentError):
        await send(blobs, content, header(content, AssetKind.FOLDER, "src"))
    assert left(tmp_path) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, tar((member("a"), b"1" * 2000))[:700]])
async def test_a_broken_tar_is_refused(blobs: BlobStore, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="no whole tar stream"):
        await send(blobs, content, header(content, AssetKind.FOLDER, "src"))
    assert left(tmp_path) == []


async def test_too_many_members_are_refused(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MEMBERS_MAX", 3)
    content = tar(*((member(f"f{n}"), b"") for n in range(4)))
    with pytest.raises(InvalidArgumentError, match="more than 3 files"):
        await send(blobs, content, header(content, AssetKind.FOLDER, "src"))


@pytest.mark.parametrize("content", [b"abc", b"abcde", b"abcX"])
async def test_what_is_not_as_announced_is_not_kept(blobs: BlobStore, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ChecksumMismatchError):
        await send(blobs, content, header(b"abcd"))
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_leaves_nothing(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for broken in ("_append", "_put_in_place"):
        with monkeypatch.context() as patch:
            patch.setattr(Upload, broken, full)
            with pytest.raises(ResourceExhaustedError, match="nothing of the upload was kept"):
                await send(blobs, b"abc", header(b"abc"))
        assert left(tmp_path) == []


async def test_what_cannot_fit_is_refused_before_it_is_sent(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=100 << 20))
    with pytest.raises(ResourceExhaustedError):
        async with blobs.receive(UploadHeader("0" * 64, 50 << 20, AssetKind.FILE, "big")):
            pytest.fail("it was let in")


async def test_an_upload_that_breaks_off_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        async with blobs.receive(header(b"abcd")) as upload:
            await upload.write(b"ab")
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await begun.wait()
    assert left(tmp_path) != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []


def test_what_a_killed_process_left_is_removed_at_the_start(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "blobs/incoming/half").mkdir()
    (tmp_path / "blobs/incoming/half/stream").write_bytes(b"x")
    blobs.open()
    assert left(tmp_path) == []


async def test_the_same_content_at_the_same_time_is_stored_once(blobs: BlobStore, tmp_path: Path) -> None:
    content = tar((member("a"), b"1"))
    announced = header(content, AssetKind.FOLDER, "src")
    assets = await asyncio.gather(*(send(blobs, content, announced) for _ in range(5)))
    assert set(assets) == {announced.asset}
    assert (blobs.path(announced.asset) / "a").read_bytes() == b"1"
    assert not list((tmp_path / "blobs/incoming").iterdir())


async def test_content_that_is_gone_is_named(blobs: BlobStore) -> None:
    asset = await send(blobs, b"x", header(b"x"))
    assert blobs.has(asset)
    shutil.rmtree(blobs.path(asset).parent)
    assert not blobs.has(asset)
    with pytest.raises(NotFoundError, match=r"'model\.pkl'"):
        blobs.path(asset)


@pytest.mark.parametrize("basename", ["", ".", "..", "a/b", "a\0b", "n" * 256])
def test_a_name_that_is_none_is_refused(basename: str) -> None:
    with pytest.raises(PenstockError, match="no file name"):
        check_header(header(b"x", basename=basename))


def test_a_malformed_header_is_refused_with_every_mistake() -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_header(UploadHeader("ABC", -1, AssetKind.FILE, ""))
    assert [v.field for v in refusal.value.violations] == ["header.sha256", "header.size_bytes", "header.basename"]
