"""The gateways of other machines that may connect: a file each, so that a command can add one while a platform runs."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from controlplane.private_file import write_private

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class EnrolmentError(Exception):
    """A gateway cannot be enrolled or expelled."""

    reason = "EnrolmentRefused"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One gateway, and where it listens on its own machine."""

    name: str
    listen_address: str
    listen_port: int
    tls_port: int
    """Used where the platform speaks TLS."""
    days: int
    """Its certificates are valid for so long."""
    admission: str
    """Which of its admissions this is: what was signed for one that was expelled is worth nothing in the next."""

    @property
    def peer(self) -> str:
        """What its certificates say: ``NAME/ADMISSION``."""
        return f"{self.name}/{self.admission}"


class Enrolments:
    """Those in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of_peer(self, peer: str) -> Enrolment | None:
        """The gateway whose certificate says ``peer``; None if it is not enrolled (any more)."""
        found = self.find(peer.partition("/")[0])
        return found if found is not None and found.peer == peer else None

    def find(self, name: str) -> Enrolment | None:
        """The gateway of this name; None if it is not enrolled (any more)."""
        if not _NAME.fullmatch(name):
            return None
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Enrolment(**json.loads(self._file(name).read_bytes()))
        return None

    def admission(self, name: str) -> str:
        """The present admission of the gateway of this name; a new one for one that is not enrolled.

        Raises:
            EnrolmentError: its name is none.
        """
        if not _NAME.fullmatch(name) or name == "gateway":
            raise EnrolmentError(
                f"{name!r} cannot name a gateway of another machine",
                hint="Lower-case letters, digits and dashes, 63 at most; `gateway` is the one of this machine.",
            )
        present = self.find(name)
        return present.admission if present is not None else secrets.token_hex(8)

    def add(self, enrolment: Enrolment) -> None:
        """Let it in from now on.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._file(enrolment.name), json.dumps(asdict(enrolment)).encode())

    def remove(self, name: str) -> None:
        """Let it in no more.

        Raises:
            EnrolmentError: it was not enrolled.
        """
        if self.find(name) is None:
            raise EnrolmentError(f"no gateway {name!r} is enrolled")
        self._file(name).unlink()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"
