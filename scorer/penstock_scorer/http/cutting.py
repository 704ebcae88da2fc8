"""Cutting one connection off, so that a client can tell an answer that broke from one that is whole.

granian ends every streamed answer properly, whatever happened. What is left is the socket itself: it is found by
the client's address among this process' own descriptors. That takes some 10 us for each open descriptor, and is
done only when a stream fails. A client on a Unix socket has no address; its stream ends without a sign.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def cut(client: str) -> bool:
    """Shut down the TCP connection with ``client`` (``host:port``); False when there is none."""
    host, _, port = client.rpartition(":")
    if not host or not port.isdecimal():
        return False
    wanted = (host.strip("[]"), int(port))
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not entry.readlink().name.startswith("socket:"):
                continue
            # A duplicate: closing it leaves granian's own untouched.
            connection = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        with connection:
            try:
                if connection.getpeername()[:2] == wanted:
                    connection.shutdown(socket.SHUT_RDWR)
                    return True
            except OSError:
                continue
    return False
