"""The few files by which a control plane and whoever talks to it find each other under the home."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from controlplane.private_file import write_private
from controlplane.settings import Home


class HomeInUseError(Exception):
    """Another control plane works on the same home."""

    reason = "HomeInUse"
    hint = "`penstock down` stops it; --home starts another one beside it."


@contextlib.contextmanager
def exclusive(home: Home) -> Iterator[None]:
    """Hold the home for this process; the kernel lets go when the process ends, however it ends.

    Raises:
        HomeInUseError: another control plane holds it.
    """
    descriptor = os.open(home.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUseError(f"a platform is already running on {home.folder}") from None
        yield
    finally:
        os.close(descriptor)


def admin_token(home: Home) -> str:
    """The token the API asks for, made on first use (mode 0600)."""
    try:
        return home.admin_token.read_text().strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        write_private(home.admin_token, f"{token}\n".encode())
        return token


def announce(home: Home, *, api: str, gateway: str, pid: int, authority: Path | None = None, ads: str = "") -> None:
    """Say that the platform is ready: ``platform.json``, read by clients on this machine.

    ``authority`` is the file with the certificate to trust, where the machine does not. ``ads``: where gateways of
    other machines connect.
    """
    told = {"api": api, "gateway": gateway, "pid": pid, **({"ca": str(authority)} if authority else {})}
    told |= {"ads": ads} if ads else {}
    write_private(home.folder / "platform.json", json.dumps(told).encode())


def withdraw(home: Home) -> None:
    """The platform is not ready any more."""
    (home.folder / "platform.json").unlink(missing_ok=True)
