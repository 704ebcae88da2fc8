"""Every setting of the control plane, typed, in the one place that reads the environment.

Each is an environment variable of the same name in capitals with the prefix ``PENSTOCK_``; the command line's flags
are passed in as arguments and win.
"""

from __future__ import annotations

import os
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """Text on a terminal, JSON elsewhere."""
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From where on lines are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Home:
    """What lies where under ``PENSTOCK_HOME``. Constructing it makes nothing; see :meth:`make`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.folder / "penstock.db"

    @property
    def master_key(self) -> Path:
        """What endpoint keys are encrypted with; mode 0600."""
        return self.folder / "master.key"

    @property
    def admin_token(self) -> Path:
        """The token that the API asks for; mode 0600."""
        return self.folder / "admin_token"

    @property
    def blobs(self) -> Path:
        """Uploaded content, by its hash."""
        return self.folder / "blobs"

    @property
    def logs(self) -> Path:
        """Logs of the control plane, Envoy and the instances."""
        return self.folder / "logs"

    @property
    def own_log(self) -> Path:
        """What the control plane says when it was started detached."""
        return self.logs / "control-plane.log"

    @property
    def gateway(self) -> Path:
        """Envoy's bootstrap, its record as a process, and its own log."""
        return self.folder / "gateway"

    @property
    def tls(self) -> Path:
        """The certificate for development."""
        return self.folder / "tls"

    @property
    def authority(self) -> Path:
        """The platform's own certificate authority, with its key; mode 0600. See pki/."""
        return self.folder / "pki" / "authority.pem"

    @property
    def gateway_authority(self) -> Path:
        """Another one, which signs for gateways of other machines alone: no instance takes what it signed."""
        return self.enrolments / "authority.pem"

    @property
    def enrolments(self) -> Path:
        """The gateways of other machines that may connect."""
        return self.folder / "pki" / "gateways"

    def make(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.folder, self.blobs, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class Settings(BaseSettings):
    """The settings; seconds unless a name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", frozen=True, extra="ignore")

    home_folder: Path = Field(default=Path("~/.penstock"), validation_alias="PENSTOCK_HOME")
    """The folder of all state."""
    gateway_host: str = "127.0.0.1"
    """The address the gateway listens on."""
    gateway_port: int = Field(default=8080, ge=1, le=65535)
    tls_cert: Path | None = None
    """The certificate that clients are shown, PEM, with its chain. With it the gateway speaks TLS on `tls_port`."""
    tls_key: Path | None = None
    """Its key, PEM."""
    tls_dev: bool = False
    """Make a certificate for development instead, under the home."""
    tls_port: int = Field(default=8443, ge=1, le=65535)
    """The port for TLS; `gateway_port` only redirects to it then."""
    api_host: str = "127.0.0.1"
    """The address the API listens on."""
    api_port: int = Field(default=50051, ge=1, le=65535)
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    """The port of the Prometheus page, on loopback. 0: none. When the default is taken, the platform goes without."""
    ads_address: str = ""
    """``HOST:PORT`` where gateways of other machines connect, with mutual TLS. Empty: nowhere."""
    instance_host: str = ""
    """This machine's IP address, to reach instances over TCP with mutual TLS. Empty: over Unix sockets."""
    instance_ports: str = "20000-29999"
    """The ports of instances then, the last included."""
    certificate_seconds: int = Field(default=604_800, ge=10)
    """The platform's internal certificates are valid for this long (7 days), and renewed after half of it."""
    public_host: str = "localhost"
    """The name by which clients reach the gateway; it appears in scoring URIs."""
    database_url: str = ""
    """SQLAlchemy's URL of the database. Empty: SQLite under the home."""
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.AUTO
    resync_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Everything is looked at again this often, events or not."""
    drain_grace_seconds: float = Field(default=30.0, ge=0, le=3600)
    """An instance may take this long to finish what it has."""

    token_lifetime_seconds: int = Field(default=3600, ge=60, le=604_800)
    """A token of an endpoint with `auth_mode: aml_token` opens it for this long."""
    signing_key_seconds: int = Field(default=2_592_000, ge=60)
    """A key signs tokens for this long (30 days), then another takes its place; see domain/signing.py."""

    @field_validator("ads_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
            raise ValueError("is HOST:PORT")
        return value

    @field_validator("instance_host")
    @classmethod
    def _is_an_ip_address(cls, value: str) -> str:
        if not value:
            return value
        try:
            usable = not ip_address(value).is_unspecified
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("is the IP address by which gateways reach this machine, such as 10.0.0.5")
        return value

    @field_validator("instance_ports")
    @classmethod
    def _is_a_range(cls, value: str) -> str:
        first, _, last = value.partition("-")
        numbers = [int(each) for each in (first, last) if each.isascii() and each.isdigit()]
        if len(numbers) != len((first, last)) or not 1024 <= numbers[0] <= numbers[1] < 1 << 16:  # noqa: PLR2004
            raise ValueError("is a range of ports such as 20000-29999, from 1024 on")
        return value

    @field_validator("public_host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if not value or "/" in value or (":" in value.strip("[]") and not value.startswith("[")):
            raise ValueError("is a host name or address, without a scheme, a port or a path")
        return value

    @property
    def home(self) -> Home:
        """What lies where."""
        return Home(self.home_folder)

    @property
    def database(self) -> str:
        """The URL in effect."""
        return self.database_url or f"sqlite:///{self.home.database}"

    @property
    def api_address(self) -> str:
        """``HOST:PORT`` to listen on."""
        return f"{self.api_host}:{self.api_port}"

    @property
    def instance_port_range(self) -> range:
        """The ports of :attr:`instance_ports`."""
        first, _, last = self.instance_ports.partition("-")
        return range(int(first), int(last) + 1)

    @property
    def gateway_uri(self) -> str:
        """Where clients reach the gateway, such as ``http://localhost:8080``."""
        if self.tls:
            return f"https://{self.public_host}:{self.tls_port}"
        return f"http://{self.public_host}:{self.gateway_port}"

    @property
    def tls(self) -> bool:
        """Whether the gateway speaks TLS."""
        return self.tls_dev or self.tls_cert is not None or self.tls_key is not None

    def at(self, home: Path) -> Self:
        """The same with another home."""
        return self.model_copy(update={"home_folder": home})


def process_environment() -> dict[str, str]:
    """This process's environment, for those that pass parts of it on to what they start."""
    return dict(os.environ)
