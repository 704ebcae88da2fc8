"""What the environment says, read here and nowhere else on the user's side.

=======================  =========================================================  ==================
``PENSTOCK_HOME``        where a platform on this machine keeps its state           ``~/.penstock``
``PENSTOCK_TARGET``      the control plane's address, ``HOST:PORT`` or ``unix:...``  see :func:`connection`
``PENSTOCK_TOKEN``       the admin token                                            ``HOME/admin_token``
``PENSTOCK_CA``          a file with certificates to trust besides the machine's    that of ``penstock up --tls-dev``
=======================  =========================================================  ==================
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import PlatformError

DEFAULT_API_PORT = 50051
DEFAULT_GATEWAY_PORT = 8080
DEFAULT_TLS_PORT = 8443


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    home: Path
    """Absolute."""
    target: str = ""
    token: str = ""
    ca: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings in ``environ``; by default the process's own environment."""
        environ = os.environ if environ is None else environ
        home = Path(environ.get("PENSTOCK_HOME") or "~/.penstock").expanduser().absolute()
        return cls(
            home=home,
            target=environ.get("PENSTOCK_TARGET", ""),
            token=environ.get("PENSTOCK_TOKEN", ""),
            ca=environ.get("PENSTOCK_CA", ""),
        )


@dataclass(frozen=True, slots=True)
class PlatformFile:
    """``HOME/platform.json``: what a running control plane says of itself. It is there from ready to stopped."""

    api: str
    gateway: str
    pid: int
    ca: str = ""
    """The file with the certificate to trust besides the machine's, for a development certificate."""

    @classmethod
    def read(cls, home: Path) -> PlatformFile | None:
        """What the file says; None when it is not there, or half-written.

        Raises:
            PlatformError: it cannot be read.
        """
        path = home / "platform.json"
        try:
            content = json.loads(path.read_text())
            return cls(str(content["api"]), str(content["gateway"]), int(content["pid"]), str(content.get("ca", "")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PlatformError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the control plane answers, and the admin token that opens it (empty: none was found)."""

    target: str
    token: str
    ca: str = ""
    """A certificate to trust besides the machine's when an endpoint is invoked."""


def connection(target: str | None = None, token: str | None = None, settings: Settings | None = None) -> Connection:
    """Where to connect: what is given here, else the environment, else the platform that runs in the home.

    Raises:
        PlatformError: a file in the home cannot be read.
    """
    settings = settings or Settings.read()
    target = target or settings.target
    ca = settings.ca
    if not target:
        platform = PlatformFile.read(settings.home)
        target = platform.api if platform else f"127.0.0.1:{DEFAULT_API_PORT}"
        ca = ca or (platform.ca if platform else "")
    return Connection(target, token or settings.token or _admin_token(settings.home), ca)


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process this one starts: its own with ``changes``."""
    return {**os.environ, **changes}


def inherited(variable: str) -> str:
    """What a process that this one starts finds in an environment variable; empty without one."""
    return os.environ.get(variable, "")


def silence_grpc() -> None:
    """Keep gRPC's own log lines, such as those on a restart of the control plane, off a user's terminal."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _admin_token(home: Path) -> str:
    path = home / "admin_token"
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        raise PlatformError(
            f"the admin token {path} cannot be read: {getattr(error, 'strerror', error)}",
            hint="ask whoever started the platform for it, and set PENSTOCK_TOKEN",
        ) from None
