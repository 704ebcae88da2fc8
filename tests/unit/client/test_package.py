"""The stream of a file or a folder: the same for the same content, and nothing that is not wanted."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from penstock import package
from penstock.errors import SourceError
from penstock.ignore import Ignore
from penstock.package import PackageKind, measure


def stream(path: Path) -> bytes:
    return b"".join(measure(path).chunks())


def names(path: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(stream(path))) as archive:
        return archive.getnames()


def make(folder: Path, *order: str) -> Path:
    for name in order:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"weights")
    measured = measure(tmp_path / "model.pkl")
    assert (measured.kind, measured.basename, measured.size_bytes) == (PackageKind.FILE, "model.pkl", 7)
    assert measured.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert list(measured.chunks()) == [b"weights"]


def test_an_empty_file_has_no_chunks(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(measure(tmp_path / "empty").chunks()) == []


def test_the_same_content_is_the_same_stream(tmp_path: Path) -> None:
    one = make(tmp_path / "one", "b/x.py", "a.py", "c")
    two = make(tmp_path / "two", "c", "a.py", "b/x.py")
    os.utime(two / "a.py", (1, 1))
    (two / "c").chmod(0o600)
    assert stream(one) == stream(two)
    (two / "a.py").write_text("other")
    assert stream(one) != stream(two)


def test_the_tar_holds_what_the_folder_holds(tmp_path: Path) -> None:
    folder = make(tmp_path / "src", "score.py", "lib/näme" + "x" * 150, "lib/run.sh")
    (folder / "lib" / "run.sh").chmod(0o755)
    (folder / "empty").mkdir()
    with tarfile.open(fileobj=io.BytesIO(stream(folder))) as archive:
        archive.extractall(tmp_path / "out", filter="data")
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in archive} == {(0, 0, 0, "", "")}
        assert {m.name: m.mode for m in archive if m.isfile()}["lib/run.sh"] == 0o755
    assert sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*")) == sorted(
        p.relative_to(folder) for p in folder.rglob("*")
    )
    assert (tmp_path / "out" / "score.py").read_text() == "content of score.py"


def test_chunks_are_within_what_the_platform_takes(tmp_path: Path) -> None:
    folder = make(tmp_path / "src", *(f"f{i}" for i in range(50)))
    (folder / "big").write_bytes(bytes(3 << 20))
    sizes = [len(chunk) for chunk in measure(folder).chunks()]
    assert max(sizes) == package.CHUNK_BYTES
    assert all(size == package.CHUNK_BYTES for size in sizes[:-1])


def test_what_is_ignored_stays_behind(tmp_path: Path) -> None:
    folder = make(tmp_path / "src", "score.py", "__pycache__/x.pyc", ".git/HEAD", "data/big.csv", "keep.csv", "x.log")
    (folder / ".gitignore").write_text("*.log\ndata/\n*.csv\n!keep.csv\n")
    assert names(folder) == [".gitignore", "keep.csv", "score.py"]
    (folder / ".amlignore").write_text("score.py\n")
    assert names(folder) == [".gitignore", "data", "data/big.csv", "keep.csv", "x.log"]


def test_links_are_followed(tmp_path: Path) -> None:
    folder = make(tmp_path / "src", "score.py")
    make(tmp_path / "shared", "lib.py")
    (folder / "shared").symlink_to(tmp_path / "shared")
    (folder / "alias.py").symlink_to(folder / "score.py")
    assert names(folder) == ["alias.py", "score.py", "shared", "shared/lib.py"]


@pytest.mark.parametrize(
    ("target", "message"), [("nothing", "is a link to nothing"), (".", "a link to a folder it lies in")]
)
def test_links_that_lead_nowhere(tmp_path: Path, target: str, message: str) -> None:
    folder = make(tmp_path / "src", "score.py")
    (folder / "link").symlink_to(target)
    with pytest.raises(SourceError, match=message):
        measure(folder)


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    folder = make(tmp_path / "src", "score.py")
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        measure(folder)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file or folder"):
        measure(tmp_path / "nothing")


def test_what_changes_while_it_is_sent_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    measured = measure(path)
    path.write_bytes(b"two")
    with pytest.raises(SourceError, match="changed while it was sent"):
        list(measured.chunks())


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"content")
    with pytest.raises(SourceError, match="became shorter"):
        list(package._content(path, 100))


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("*.pyc", ["a.pyc", "x/y/a.pyc"], ["a.py"]),
        ("/top", ["top"], ["x/top"]),
        ("a/b", ["a/b"], ["x/a/b", "a/c"]),
        ("**/deep", ["deep", "x/y/deep"], ["deeper"]),
        ("a/**", ["a/b", "a/b/c"], ["b"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["z"]),
        ("?.txt", ["a.txt"], ["ab.txt"]),
        ("[ab].txt", ["a.txt"], ["c.txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt"]),
        ("# comment", [], ["# comment", "comment"]),
        ("\\#file", ["#file"], []),
        ("trailing   ", ["trailing"], []),
        ("[broken", [], ["broken"]),
        ("/", [], ["x"]),
    ],
)
def test_patterns_mean_what_they_mean_to_git(pattern: str, ignored: list[str], kept: list[str]) -> None:
    rules = Ignore([pattern])
    assert [path for path in ignored + kept if rules.matches(path, folder=False)] == ignored


def test_a_pattern_for_folders_leaves_files_alone() -> None:
    rules = Ignore(["build/"])
    assert rules.matches("x/build", folder=True)
    assert not rules.matches("x/build", folder=False)
