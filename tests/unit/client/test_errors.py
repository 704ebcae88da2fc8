"""Failures as they travel, back into exceptions."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from penstock import errors, status
from penstock.retry import Retry
from penstock.v1 import error_pb2


class FailedCall(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "", rich: status_pb2.Status | None = None) -> None:
        self._code, self._details = code, details
        self._rich = rich

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> list[tuple[str, bytes | str]]:
        rich = [("grpc-status-details-bin", self._rich.SerializeToString())] if self._rich is not None else []
        return [("x-request-id", "abc"), *rich]


def rich(message: str, *details: object) -> status_pb2.Status:
    made = status_pb2.Status(code=3, message=message)
    for detail in details:
        made.details.add().Pack(detail)
    return made


def test_every_reason_of_the_api_has_a_class() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in error_pb2.ErrorReason.keys()}  # noqa: SIM118 - no dict
    reasons.discard("UNSPECIFIED")
    unknown = sorted(reason for reason in reasons if reason not in status._BY_REASON)
    assert unknown == []


def test_the_details_are_taken_apart() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="traffic", description="must sum to 100")
    error = status.from_rpc(
        FailedCall(
            grpc.StatusCode.INVALID_ARGUMENT,
            rich=rich(
                "traffic: must sum to 100",
                error_details_pb2.ErrorInfo(reason="INVALID_TRAFFIC", metadata={"resource": "endpoints/x"}),
                bad,
                error_details_pb2.LocalizedMessage(message="make it 100"),
                error_details_pb2.DebugInfo(detail="a\nb"),
            ),
        ),
        "target",
    )
    assert type(error) is errors.InvalidTrafficError
    assert str(error) == "traffic: must sum to 100"
    assert (error.reason, error.hint, error.detail, error.resource) == (
        "INVALID_TRAFFIC",
        "make it 100",
        "a\nb",
        "endpoints/x",
    )
    assert error.violations == (errors.Violation("traffic", "must sum to 100"),)


@pytest.mark.parametrize(
    ("code", "cls", "sentence"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.UnavailableError, "nothing answers at target"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineError, "target did not answer in time"),
        (grpc.StatusCode.NOT_FOUND, errors.NotFoundError, "said"),
        (grpc.StatusCode.UNIMPLEMENTED, errors.ApiError, "said"),
    ],
)
def test_a_failure_without_details(code: grpc.StatusCode, cls: type[errors.ApiError], sentence: str) -> None:
    error = status.from_rpc(FailedCall(code, "said"), "target")
    assert (type(error), str(error), error.code) == (cls, sentence, code.name)


def test_a_reason_from_the_future_falls_back_to_the_code() -> None:
    unknown = rich("said", error_details_pb2.ErrorInfo(reason="SOMETHING_NEW"))
    error = status.from_rpc(FailedCall(grpc.StatusCode.NOT_FOUND, rich=unknown), "target")
    assert (type(error), error.reason) == (errors.NotFoundError, "SOMETHING_NEW")


def test_waits_double_up_to_a_cap_with_jitter() -> None:
    assert list(Retry(5, 0.1, 0.5, lambda: 1.0).delays()) == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])
    assert list(Retry(2, 0.1, 0.5, lambda: 0.0).delays()) == pytest.approx([0.05, 0.1])


def test_positions_read_like_a_compilers() -> None:
    assert str(errors.Problem(errors.Position("f.yml", 3, 5), "x")) == "f.yml:3:5: x"
    assert str(errors.Problem(errors.Position("f.yml"), "x")) == "f.yml: x"
