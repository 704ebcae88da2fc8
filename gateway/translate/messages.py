"""Small conversions every translation needs."""

from __future__ import annotations

from envoy.config.core.v3 import config_source_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from gateway.snapshot import Key, Resource, ResourceType


def pack(message: Message) -> AnyMessage:
    """``message`` as an ``Any``, deterministically, so that equal content has an equal hash."""
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed


def duration(milliseconds: int) -> Duration:
    """A protobuf duration."""
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def resource(kind: ResourceType, name: str, message: Message, refs: tuple[Key, ...] = ()) -> Resource:
    """``message`` as what the snapshot holds."""
    return Resource.of(kind, name, message.SerializeToString(deterministic=True), refs)


def ads() -> config_source_pb2.ConfigSource:
    """The stream everything comes over: one stream, so that order can be kept."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.V3
    )
