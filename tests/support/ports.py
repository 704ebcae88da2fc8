"""Ports for what is started by a test."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path


def free_port() -> int:
    """A port that was free a moment ago, and that the kernel gives to nobody who asks for any.

    What is killed and started again must find its ports as it left them; those of the ephemeral range go to whoever
    connects meanwhile, in any process of the machine.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10_000, first_ephemeral), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")
