"""Cutting contents out of messages, against the real protobuf."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.grpc import codec, wire
from penstock_scorer.grpc.generated import inference_pb2 as pb
from penstock_scorer.inference.model import Model

MODEL = Model("m", "1")


@given(st.lists(st.binary(max_size=300)), st.text(max_size=200), st.lists(st.text(max_size=9), max_size=4))
def test_split_and_join_are_what_protobuf_does(contents: list[bytes], name: str, inputs: list[str]) -> None:
    message = pb.ModelInferRequest(model_name=name, inputs=[{"name": text} for text in inputs])
    whole = pb.ModelInferRequest()
    whole.CopyFrom(message)
    whole.raw_input_contents.extend(contents)
    head, raw = wire.split(whole.SerializeToString(), 7)
    assert [bytes(view) for view in raw] == contents
    assert pb.ModelInferRequest.FromString(head) == message
    assert pb.ModelInferRequest.FromString(wire.join(message.SerializeToString(), 7, contents)) == whole


def test_contents_are_views_wherever_they_are_in_the_message() -> None:
    head = pb.ModelInferRequest(model_name="m").SerializeToString()
    message = wire.join(b"", 7, [b"abc"]) + head + wire.join(b"", 7, [b"de"])
    rest, raw = wire.split(message, 7)
    assert (rest, [bytes(view) for view in raw]) == (head, [b"abc", b"de"])
    assert all(view.obj is message for view in raw)


@given(st.binary(max_size=60))
def test_no_bytes_are_a_fault_of_ours(message: bytes) -> None:
    with pytest.raises(BadInputError):
        codec.parse(MODEL, message)


@given(st.binary(max_size=60))
def test_what_protobuf_reads_is_never_refused(message: bytes) -> None:
    with contextlib.suppress(DecodeError):
        pb.ModelInferRequest.FromString(message)
        with contextlib.suppress(GroupError):
            split(message)


class GroupError(Exception):
    """Groups are the one thing protobuf reads and we do not."""


def split(message: bytes) -> None:
    try:
        wire.split(message, 7)
    except wire.WireError as error:
        raise (GroupError if "group" in str(error) else AssertionError) from error


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"\x3a\x05ab", "ends inside a field"),
        (b"\x3a", "ends inside a number"),
        (b"\x3a" + b"\xff" * 11, "number is too long"),
        (b"\x0b", "group"),
        (b"\x0d\x00", "ends inside a field"),
        (b"\x09\x00", "ends inside a field"),
    ],
)
def test_a_malformed_message_is_said_in_a_sentence(message: bytes, problem: str) -> None:
    with pytest.raises(BadInputError, match=problem):
        codec.parse(MODEL, message)


def test_the_generated_messages_are_those_of_the_proto(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    code = "import sys; sys.path.insert(0, 'protos'); import generate, pathlib; "
    code += "generate.generate_inference(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=root)
    folder = Path("scorer/penstock_scorer/grpc/generated")
    for name in ("inference_pb2.py", "inference_pb2.pyi"):
        assert (root / folder / name).read_text() == (tmp_path / folder / name).read_text(), "run `make protos`"


def test_a_script_may_register_the_same_names() -> None:
    """tritonclient and kserve register ``inference.*`` in the process' one pool."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415

    theirs = FileDescriptorProto()
    pb.ModelInferRequest.DESCRIPTOR.file.CopyToProto(theirs)
    theirs.name = "grpc_service.proto"
    code = "import sys; from google.protobuf import descriptor_pool as d; from penstock_scorer.grpc.generated import "
    code += "inference_pb2; d.Default().AddSerializedFile(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code], check=True, input=theirs.SerializeToString())
