"""Every refusal has a code of its own, and fits into the trailers."""

from __future__ import annotations

import grpc
import pytest

from controlplane.api.errors import MESSAGE_MAX, code_of, operation_status, status_of
from controlplane.api.interceptors import AdminToken
from controlplane.domain.errors import (
    InvalidArgumentError,
    PenstockError,
    UnauthenticatedError,
    Violation,
)
from controlplane.domain.operations import OperationError


def below(kind: type[PenstockError]) -> set[type[PenstockError]]:
    return {kind}.union(*(below(sub) for sub in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted(below(PenstockError) - {PenstockError}, key=lambda k: k.__name__))
def test_no_refusal_looks_like_a_defect(kind: type[PenstockError]) -> None:
    error = kind.__new__(kind)
    assert code_of(error) not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def test_a_status_fits_into_the_trailers() -> None:
    huge = [Violation(f"field{n}", "é" * 5000) for n in range(1000)]
    status = status_of(InvalidArgumentError(*huge, hint="h"), "request")
    assert len(status.SerializeToString()) < 7 * 1024
    assert len(status.message) <= MESSAGE_MAX + 4


def test_a_long_traceback_keeps_its_end() -> None:
    status = operation_status(OperationError("InitFailed", "init() failed", "x" * 100_000 + "the last line"))
    assert status.details[1].value.endswith(b"the last line")


@pytest.mark.parametrize("sent", ["", "secret", "Basic secret", "Bearer", "Bearer ", "Bearer wrong", "Bearer secretx"])
def test_a_wrong_token_is_refused(sent: str) -> None:
    with pytest.raises(UnauthenticatedError):
        AdminToken("secret").caller(sent)


@pytest.mark.parametrize("sent", ["Bearer secret", "bearer secret", "BEARER  secret "])
def test_the_token_lets_in(sent: str) -> None:
    assert AdminToken("secret").caller(sent) == "admin"
