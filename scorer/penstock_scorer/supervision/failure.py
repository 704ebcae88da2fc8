"""Why a start failed, for people and for whoever started us.

The last thing on stderr is the user's own traceback. The same goes, as JSON, to the file named by
``PENSTOCK_FAILURE_FILE``, from where the control plane shows it in the deployment's status.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from penstock_scorer.contract.tracebacks import user_traceback

if TYPE_CHECKING:
    from pathlib import Path

    from penstock_scorer.errors import ScorerError


@dataclass(frozen=True)
class Failure:
    """One failure: ``{"reason", "message", "traceback", "hint"}`` in the file."""

    reason: str
    """For machines: the ``reason`` of the :class:`~penstock_scorer.errors.ScorerError`."""
    message: str
    """One sentence."""
    traceback: str = ""
    """The user's frames only; empty when no code of the user's was involved."""
    hint: str = ""

    @classmethod
    def of(cls, error: ScorerError) -> Failure:
        """From an error whose cause, if any, is the user's exception."""
        cause = error.__cause__
        return cls(error.reason, str(error), user_traceback(cause) if cause is not None else "", error.hint)

    def dumps(self) -> str:
        """As JSON, on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Failure:
        """The inverse of :meth:`dumps`."""
        return cls(**json.loads(text))


def report(error: ScorerError, file: Path | None) -> None:
    """Say why we give up, on stderr and in ``file``."""
    publish(Failure.of(error), file)


def publish(failure: Failure, file: Path | None) -> None:
    """As :func:`report`, for a failure that another process met."""
    if file is not None:
        try:
            temporary = file.with_name(f".{file.name}.{os.getpid()}")
            temporary.write_text(failure.dumps(), "utf-8")
            temporary.replace(file)
        except OSError as error:
            print(f"penstock-scorer: the failure file {file} cannot be written: {error}", file=sys.stderr)  # noqa: T201
    print(f"penstock-scorer: {failure.message}", file=sys.stderr)  # noqa: T201
    if failure.hint:
        print(f"  {failure.hint}", file=sys.stderr)  # noqa: T201
    if failure.traceback:
        print(failure.traceback, file=sys.stderr)  # noqa: T201
    sys.stderr.flush()
