"""What differs between two answers to one request, once what must differ is set aside."""

from __future__ import annotations

import re
from collections import Counter

from scorer.tests.differential.servers import Reply, Request

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_PEER_VERSION = re.compile(r"azmlinfsrv/1\.5\.1")
_OUR_VERSION = re.compile(r"penstock-scorer/\S+")
_MILLISECONDS = re.compile(r"\d+\.\d{3}")
# Said by the transports about themselves; `connection` has a row of its own in the table.
_TRANSPORT = ("date", "server", "transfer-encoding")


def differences(peer: Reply, ours: Reply) -> set[str]:
    """Names of what differs: ``status``, ``body``, ``header NAME``."""
    found = set()
    if peer.status != ours.status:
        found.add("status")
    if peer.body != ours.body:
        found.add("body")
    theirs, mine = _normal(peer), _normal(ours)
    for name in theirs.keys() | mine.keys():
        if theirs.get(name) != mine.get(name):
            found.add(f"header {name}")
    return found


def report(request: Request, peer: Reply, ours: Reply, found: set[str]) -> str:
    """A difference for a person."""
    lines = [f"{request}", f"  differs in {', '.join(sorted(found))}"]
    for name, reply in (("peer", peer), ("here", ours)):
        lines.append(f"  {name}: {reply.status} {dict(reply.headers)} {reply.body[:300]!r}")
    return "\n".join(lines)


def _normal(reply: Reply) -> dict[str, Counter[str]]:
    headers: dict[str, Counter[str]] = {}
    for name, value in reply.headers:
        if name not in _TRANSPORT:
            headers.setdefault(name, Counter())[_placeholder(name, value)] += 1
    return headers


def _placeholder(name: str, value: str) -> str:
    if name == "allow":
        return ", ".join(sorted(value.split(", ")))  # the peer's is a set, in any order
    if name in ("x-request-id", "x-ms-request-id") and _UUID4.fullmatch(value):
        return "a new uuid4"
    if name == "x-ms-server-version" and (_PEER_VERSION.fullmatch(value) or _OUR_VERSION.fullmatch(value)):
        return "a version"
    if name == "x-ms-run-fn-exec-ms" and _MILLISECONDS.fullmatch(value):
        return "milliseconds"
    return value
