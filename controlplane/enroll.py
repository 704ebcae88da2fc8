"""``python -m controlplane.enroll NAME``: what a gateway on another machine needs, into a folder to be copied there.

It needs the home, whose authority signs; the platform may run meanwhile or not. What goes wrong is one sentence on
stderr, starting with ``error:``, and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from pydantic import ValidationError

from controlplane.clock import SystemClock
from controlplane.pki import identity
from controlplane.pki.authority import Authority, AuthorityError, Use
from controlplane.pki.enrolments import Enrolment, EnrolmentError, Enrolments
from controlplane.pki.issuer import Issuer
from controlplane.private_file import write_private
from controlplane.settings import Home, Settings
from gateway import enrolment
from gateway.settings import GatewaySettings

_UNSET = Path("unused")


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.enroll", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--expel", action="store_true", help="let the gateway in no more, instead")
    parser.add_argument("--output", type=Path, metavar="DIR")
    parser.add_argument("--control-plane", metavar="HOST:PORT")
    parser.add_argument("--listen", default="0.0.0.0:8080", metavar="ADDRESS:PORT")  # on its own machine
    parser.add_argument("--tls-port", type=int, default=8443)
    parser.add_argument("--days", type=int, default=30)
    parsed = parser.parse_args()
    try:
        home = Settings().home
    except ValidationError as error:
        return _fail(f"the setting {'.'.join(map(str, error.errors()[0]['loc']))} is wrong")
    try:
        if parsed.expel:
            Enrolments(home.enrolments).remove(parsed.name)
        else:
            _enroll(home, parsed)
    except (EnrolmentError, AuthorityError) as error:
        return _fail(str(error), error.hint)
    except OSError as error:
        return _fail(f"{error.filename or parsed.output or home.folder}: {error.strerror or error}")
    return 0


def _enroll(home: Home, parsed: argparse.Namespace) -> None:
    clock = SystemClock()
    if not (home.authority.exists() and home.gateway_authority.exists()):
        raise EnrolmentError(
            f"the platform on {home.folder} lets no gateway in from another machine",
            hint="Start it with `penstock up --ads-address HOST:PORT`.",
        )
    trusted = Authority.open(home.authority, clock.now())
    issuer = Issuer(Authority.open(home.gateway_authority, clock.now()), clock, timedelta(days=parsed.days))
    host, port = _control_plane(home, parsed.control_plane)
    listen_address, listen_port = _split(parsed.listen, "--listen")
    try:
        ip_address(listen_address.strip("[]"))
    except ValueError:
        raise EnrolmentError(f"--listen takes an IP address and a port, and {parsed.listen!r} is none") from None
    enrolments = Enrolments(home.enrolments)
    admission = enrolments.admission(parsed.name)
    admitted = Enrolment(parsed.name, listen_address.strip("[]"), listen_port, parsed.tls_port, parsed.days, admission)
    settings = enrolment.settings_of(
        GatewaySettings(_UNSET, _UNSET, _UNSET, _UNSET), parsed.name, listen_address, listen_port, parsed.tls_port
    )
    folder: Path = parsed.output
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in enrolment.files(settings, host, port).items():
        write_private(folder / name, content.encode())
    write_private(folder / enrolment.AUTHORITY, trusted.pem)
    # The rest is there: an Envoy that runs from this folder takes the renewed certificate when it appears.
    write_private(folder / enrolment.IDENTITY, issuer.issue(identity.gateway(admitted.peer), Use.CALL).pem)
    # Last: what failed half-way lets nobody in.
    enrolments.add(admitted)


def _control_plane(home: Home, given: str | None) -> tuple[str, int]:
    """Where the gateway finds the control plane: as given, or as the platform that runs says."""
    address = given or _announced(home)
    if not address:
        raise EnrolmentError(
            "nobody knows by which address the gateway reaches this machine",
            hint="Give it: --control-plane HOST:PORT, with the port of `penstock up --ads-address`.",
        )
    return _split(address, "--control-plane")


def _announced(home: Home) -> str:
    try:
        address = str(json.loads((home.folder / "platform.json").read_bytes()).get("ads") or "")
    except (OSError, AttributeError, ValueError):
        return ""
    try:
        return "" if ip_address(address.rpartition(":")[0].strip("[]")).is_unspecified else address
    except ValueError:
        return address  # a name


def _split(address: str, option: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise EnrolmentError(f"{option} takes HOST:PORT, and {address!r} is none")
    return host, int(port)


def _fail(sentence: str, hint: str = "") -> int:
    sys.stderr.write(f"error: {sentence}{f' ({hint})' if hint else ''}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
