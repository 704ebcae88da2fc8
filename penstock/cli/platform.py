"""``penstock up``, ``down`` and ``status``: the platform on this machine.

The control plane is a process of its own, ``python -m controlplane``; nothing of it is imported here. It writes
``HOME/platform.json`` once it answers and removes it when it has stopped everything; on SIGTERM or Ctrl-C it drains.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from penstock.cli.command import Columns, Command
from penstock.cli.context import Context
from penstock.cli.machine import Machine
from penstock.errors import UsageError
from penstock.names import short_name
from penstock.settings import (
    DEFAULT_API_PORT,
    DEFAULT_GATEWAY_PORT,
    DEFAULT_TLS_PORT,
    Settings,
    child_environment,
    inherited,
)

_STATE = "(provisioning_state != 'Succeeded' && join('', [' ', provisioning_state]) || '')"
_BELOW = (
    "deployments[].join('', [name, ' ', to_string(ready_instances), '/', to_string(instance_count), "
    f"{_STATE}]) | join(', ', @)"
)
_TABLE = Columns(
    (
        ("Endpoint", "name"),
        ("State", "provisioning_state"),
        ("Traffic", "traffic"),
        ("Deployments", _BELOW),
        ("Status", "status_message"),
    )
)


def up(context: Context, parsed: argparse.Namespace) -> dict[str, Any] | None:
    """Start a platform: in the foreground until Ctrl-C, or detached, returning once it is ready."""
    machine = _machine(context, parsed)
    tls = _tls(parsed)
    speaks_tls = bool(tls) or any(map(inherited, ("PENSTOCK_TLS_CERT", "PENSTOCK_TLS_DEV")))
    if parsed.tls_port is not None and not speaks_tls:
        raise UsageError("--tls-port means nothing without --tls-cert or --tls-dev")
    ports = _ports(parsed)
    _different(ports, tls=speaks_tls)
    machine.check_free(ports["gateway"], ports["api"], ports["tls"] if speaks_tls else None)
    argv = [sys.executable, "-m", "controlplane"]
    environment = child_environment(
        {
            "PENSTOCK_HOME": str(machine.home),
            **{f"PENSTOCK_{name.upper()}_PORT": str(number) for name, number in ports.items()},
            **tls,
            **_elsewhere(parsed),
        }
    )
    if not parsed.detach:
        # The control plane takes this process over: Ctrl-C and SIGTERM reach it and nothing in between. An interpreter
        # that starts answers Ctrl-C with a traceback; blocked, it waits for the control plane's first line.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        os.execve(argv[0], argv, environment)  # noqa: S606 - our own interpreter
    with context.console.working("starting the platform") as say:
        ready = machine.start(argv, environment, say)
    context.console.done(f"ready: {ready.gateway} (API at {ready.api}, state in {machine.home})")
    return {"api": ready.api, "gateway": ready.gateway, "pid": ready.pid, "home": str(machine.home)}


def down(context: Context, parsed: argparse.Namespace) -> None:
    """Stop the platform and everything it started."""
    machine = _machine(context, parsed)
    sweep = [sys.executable, "-m", "controlplane", "down"]
    environment = child_environment({"PENSTOCK_HOME": str(machine.home)})
    with context.console.working("stopping the platform") as say:
        ran = machine.stop(sweep, environment, say)
    context.console.done("stopped" if ran else f"no platform was running on {machine.home}")


def status(context: Context, parsed: argparse.Namespace) -> Any:
    """Show the platform, its endpoints and their deployments."""
    from penstock.cli import shapes  # noqa: PLC0415 - protobuf takes 0.1 s, which `up` need not wait for

    if parsed.home is not None:
        context.settings = Settings(home=parsed.home.expanduser().absolute())
    client = context.client
    behind: dict[str, list[dict[str, Any]]] = {}
    for deployment in client.deployments.list():
        behind.setdefault(deployment.name.split("/")[1], []).append(shapes.deployment(deployment))
    endpoints = []
    for message in client.endpoints.list():
        below = behind.get(short_name(message.name), [])
        endpoints.append(shapes.endpoint(message, [d["name"] for d in below]) | {"deployments": below})
    if parsed.output == "table":
        summary = shapes.platform(client.status())
        context.console.done(
            f"{summary['gateway_uri']}  gateways {summary['gateways_connected']}, endpoints {summary['endpoints']}, "
            f"deployments {summary['deployments']}, ready instances {summary['ready_instances']}"
        )
        for problem in summary["problems"]:
            context.console.note(problem)
        return endpoints
    instances = [shapes.instance(i) for i in client.deployments.instances()]
    return {**shapes.platform(client.status()), "endpoint_states": endpoints, "instances": instances}


def _ports(parsed: argparse.Namespace) -> dict[str, int]:
    """Each port: by its flag, else by the variable that the control plane reads, else the default."""
    ports = {}
    for name, default in (("gateway", DEFAULT_GATEWAY_PORT), ("api", DEFAULT_API_PORT), ("tls", DEFAULT_TLS_PORT)):
        said: int | None = getattr(parsed, f"{name}_port")
        variable = f"PENSTOCK_{name.upper()}_PORT"
        try:
            ports[name] = said if said is not None else port(inherited(variable) or str(default))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{variable}: {error}") from None
    return ports


def _different(ports: dict[str, int], *, tls: bool) -> None:
    flags: dict[int, str] = {}
    for name, number in ports.items():
        if name == "tls" and not tls:
            continue
        flag = f"--{name}-port"
        if number in flags:
            raise UsageError(f"{flags[number]} and {flag} are both {number}, and each needs a port of its own")
        flags[number] = flag


def _tls(parsed: argparse.Namespace) -> dict[str, str]:
    """The control plane's settings for TLS; none without it."""
    if parsed.tls_dev and (parsed.tls_cert or parsed.tls_key):
        raise UsageError("--tls-dev makes a certificate: leave --tls-cert and --tls-key out")
    if bool(parsed.tls_cert) != bool(parsed.tls_key):
        raise UsageError("--tls-cert and --tls-key belong together")
    if parsed.tls_dev:
        return {"PENSTOCK_TLS_DEV": "true"}
    if parsed.tls_cert is None:
        return {}
    files = {"PENSTOCK_TLS_CERT": parsed.tls_cert, "PENSTOCK_TLS_KEY": parsed.tls_key}
    return {name: str(file.expanduser().absolute()) for name, file in files.items()}


def _elsewhere(parsed: argparse.Namespace) -> dict[str, str]:
    """The control plane's settings for gateways and instances beyond this machine's sockets."""
    given = {"PENSTOCK_ADS_ADDRESS": parsed.ads_address, "PENSTOCK_INSTANCE_HOST": parsed.instance_host}
    return {name: value for name, value in given.items() if value}


def _machine(context: Context, parsed: argparse.Namespace) -> Machine:
    home: Path = parsed.home.expanduser().absolute() if parsed.home is not None else context.settings.home
    return Machine(home)


def home_argument(parser: argparse.ArgumentParser) -> None:
    """``--home``."""
    parser.add_argument(
        "--home", type=Path, metavar="DIR", help="the state's folder; default: PENSTOCK_HOME, else ~/.penstock"
    )


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    home_argument(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="leave it running and return once it is ready")
    parser.add_argument(
        "--gateway-port",
        type=port,
        metavar="PORT",
        help="where clients send requests; default: 8080",
    )
    parser.add_argument("--api-port", type=port, metavar="PORT", help="where the API answers; default: 50051")
    _tls_arguments(parser)
    parser.add_argument(
        "--ads-address",
        metavar="HOST:PORT",
        help="let gateways of other machines connect here, with mutual TLS: see `penstock gateway enroll`",
    )
    parser.add_argument(
        "--instance-host",
        metavar="ADDRESS",
        help="reach instances by this IP address of the machine, over TCP with mutual TLS, instead of Unix sockets",
    )


def _tls_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="speak TLS with this certificate (PEM, with its chain)"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key (PEM, no password)")
    parser.add_argument("--tls-dev", action="store_true", help="speak TLS with a certificate made for development")
    parser.add_argument(
        "--tls-port",
        type=port,
        metavar="PORT",
        help="where clients send requests with TLS; --gateway-port redirects to it; default: 8443",
    )


def port(text: str) -> int:
    """A port, for argparse's ``type``."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:  # noqa: PLR2004 - the ports there are
        raise argparse.ArgumentTypeError(f"'{text}' is no port: 1 to 65535")
    return int(text)


COMMANDS = (
    Command("up", "Start a platform on this machine.", up, _up_arguments),
    Command("down", "Stop the platform on this machine.", down, home_argument),
    Command("status", "Show the platform's state.", status, home_argument, _TABLE),
)
