"""The folder of an instance, whole or not at all."""

import errno
import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from penstock_scorer.auth import policy as scorer_policy

from controlplane.backends.process import instance_files
from controlplane.backends.process.instance_files import InstanceFiles, Manifest
from controlplane.backends.process.layout import Layout
from controlplane.backends.process.post_mortem import post_mortem
from controlplane.domain.instances import InstanceFailure, InstanceTemplate, ModelFiles
from controlplane.domain.names import Versioned
from controlplane.domain.ports import AuthPolicy, TokenPolicy
from controlplane.domain.signing import AUDIENCE, ISSUER
from controlplane.domain.specs import Asset, AssetKind, ProbeSettings
from controlplane.usecases.es256 import Es256

POLICY = AuthPolicy("house", "key", "00" * 16, (("primary", "ab" * 32),))
TEMPLATE = InstanceTemplate(
    endpoint="house",
    deployment="blue",
    model=ModelFiles(Versioned("prices", "3"), Asset("0" * 64, AssetKind.FOLDER, "model", 1)),
)


@dataclass
class Uploaded:
    code: Path
    model: Path


@pytest.fixture
def uploaded(tmp_path: Path) -> Uploaded:
    code, model = tmp_path / "src", tmp_path / "model"
    (code / "lib").mkdir(parents=True)
    (code / "lib/x.py").write_text("x = 1")
    (code / "lib/x.py").chmod(0o444)
    model.mkdir()
    (model / "m.pkl").write_text("M")
    return Uploaded(code, model)


def manifest(instance: str = "abc") -> Manifest:
    return Manifest(instance, "house", "hash", "/run/abc.sock", ProbeSettings(), ProbeSettings(period_seconds=1))


def create(files: InstanceFiles, uploaded: Uploaded) -> None:
    instance_files.create(files, manifest(files.id), TEMPLATE, code=uploaded.code, model=uploaded.model, policy=POLICY)


def test_code_is_copied_and_models_are_not(tmp_path: Path, uploaded: Uploaded) -> None:
    files = InstanceFiles(tmp_path / "instances/abc")
    create(files, uploaded)
    (files.code / "lib/x.py").write_text("x = 2")
    assert (uploaded.code / "lib/x.py").read_text() == "x = 1"
    model = files.folder / "azureml-models/prices/3/model/m.pkl"
    assert model.samefile(uploaded.model / "m.pkl")
    assert files.manifest() == manifest()
    assert files.policy.stat().st_mode & 0o777 == 0o600


def test_models_on_another_file_system_are_linked_all_the_same(
    tmp_path: Path, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    files = InstanceFiles(tmp_path / "instances/abc")
    create(files, uploaded)
    model = files.folder / "azureml-models/prices/3/model/m.pkl"
    assert model.is_symlink()
    assert model.read_text() == "M"


def test_a_full_disk_leaves_nothing(tmp_path: Path, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(InstanceFiles, "write_policy", full)
    with pytest.raises(OSError, match="No space left"):
        create(InstanceFiles(tmp_path / "instances/abc"), uploaded)
    assert list((tmp_path / "instances").iterdir()) == []


def test_what_was_half_made_or_half_thrown_away_is_removed(tmp_path: Path, uploaded: Uploaded) -> None:
    create(InstanceFiles(tmp_path / "instances/abc"), uploaded)
    for name in (".new-def", ".old-ghi"):
        (tmp_path / "instances" / name / "code").mkdir(parents=True)
    assert [files.id for files in instance_files.existing(tmp_path / "instances")] == ["abc"]
    assert [path.name for path in (tmp_path / "instances").iterdir()] == ["abc"]
    assert list(instance_files.existing(tmp_path / "nowhere")) == []


def test_thrown_away(tmp_path: Path, uploaded: Uploaded) -> None:
    files = InstanceFiles(tmp_path / "instances/abc")
    create(files, uploaded)
    files.throw_away()
    files.throw_away()
    assert list((tmp_path / "instances").iterdir()) == []
    assert (uploaded.model / "m.pkl").read_text() == "M"


def test_notes_survive(tmp_path: Path) -> None:
    files = InstanceFiles(tmp_path)
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert (files.ready_since(), files.ended(), files.manifest()) == (None, None, None)
    files.note_ready(now)
    files.note_ended(now, InstanceFailure("R", "m", "d"))
    assert (files.ready_since(), files.ended()) == (now, (now, InstanceFailure("R", "m", "d")))
    files.note_ready(None)
    assert files.ready_since() is None


@pytest.mark.parametrize(
    ("exit_code", "told", "reason", "message"),
    [
        (1, '{"reason": "ScriptFailed", "message": "init failed", "traceback": "T"}', "ScriptFailed", "init failed"),
        (1, '{"reas', "Exited", "it exited with code 1 without being asked to"),
        (0, "", "Exited", "it exited with code 0 without being asked to"),
        (-9, "", "Killed", "it was killed by signal 9 (SIGKILL), perhaps because the machine ran out of memory"),
        (-11, "", "Killed", "it was killed by signal 11 (SIGSEGV): native code in one of its packages crashed"),
        (-99, "", "Killed", "it was killed by signal 99"),
        (None, "", "Exited", "it ended while nobody watched, so its exit code is not known"),
    ],
)
def test_why_it_ended(tmp_path: Path, exit_code: int | None, told: str, reason: str, message: str) -> None:
    files = InstanceFiles(tmp_path)
    files.log.write_text("".join(f"line {n}\n" for n in range(100)))
    if told:
        files.failure.write_text(told)
    found = post_mortem(files, exit_code)
    assert (found.reason, found.message) == (reason, message)
    assert found.detail == "T" if reason == "ScriptFailed" else found.detail.endswith("line 98\nline 99")


def test_a_deep_home_has_short_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tmp_path / "t"
    short.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(short))
    layout = Layout(tmp_path / ("d" * 90))
    folder = layout.run_folder()
    assert folder.parent == short
    assert folder.resolve() == layout.home / "run"
    assert layout.run_folder() == folder
    folder.unlink()
    folder.mkdir()
    with pytest.raises(OSError, match="belongs to somebody else"):
        layout.run_folder()


def test_the_scorer_reads_what_is_written_for_tokens(tmp_path: Path) -> None:
    algorithm = Es256()
    public, private = algorithm.generate("k1")
    files = InstanceFiles(tmp_path)
    files.write_policy(
        AuthPolicy("house", "aml_token", "00" * 16, tokens=TokenPolicy(ISSUER, AUDIENCE, 100, (public,)))
    )
    text = files.policy.read_text()
    policy = scorer_policy.parse(text, clock=lambda: 150.0)
    claims: dict[str, str | int] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "admin", "endpoint": "house", "exp": 200}
    assert policy.verify(algorithm.sign(public, private, claims | {"iat": 100})) == "admin"
    assert policy.verify(algorithm.sign(public, private, claims | {"iat": 99})) is None
    assert policy.verify(algorithm.sign(public, private, claims | {"iat": 100, "endpoint": "barn"})) is None
    assert private not in text


def test_grpc_sockets_are_as_many_as_there_are_workers(tmp_path: Path) -> None:
    socket, grpc = tmp_path / "abc.sock", tmp_path / "abc.grpc"
    mute = Manifest("abc", "house", "hash", str(socket), ProbeSettings(), ProbeSettings())
    assert mute.grpc_sockets() == ()
    known = replace(mute, grpc_socket=str(grpc))
    assert known.grpc_sockets() == (str(grpc),)  # not there yet
    for name in ("abc.sock", "abc.grpc.0", "abc.grpc.1", "abc.grpc.3", "abd.grpc"):
        (tmp_path / name).touch()
    (tmp_path / "abc.grpc.1~").mkdir()  # killed while it made one anew
    (tmp_path / "abc.grpc.1~/s").touch()
    assert known.grpc_sockets() == (f"{grpc}.0", f"{grpc}.1")
    known.remove_sockets()
    known.remove_sockets()
    assert [path.name for path in tmp_path.iterdir()] == ["abd.grpc"]


def test_a_manifest_of_an_earlier_release_has_no_grpc(tmp_path: Path, uploaded: Uploaded) -> None:
    files = InstanceFiles(tmp_path / "instances/abc")
    create(files, uploaded)
    path = files.folder / "instance.json"
    known = json.loads(path.read_text())
    del known["grpc_socket"]
    path.write_text(json.dumps(known))
    found = files.manifest()
    assert found is not None
    assert found.grpc_sockets() == ()
