"""Stands in for ``python -m controlplane``: it says that it is ready, and stops as told. Modes make it misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

# The process is recognised by this word in its command line, as the real one is.
WORD = "controlplane"


def main() -> None:
    home, mode = Path(os.environ["PENSTOCK_HOME"]), sys.argv[2]
    if mode == "dies":
        sys.exit("some line\nerror: the disk is full (free some space)")
    if mode == "crashes":
        raise RuntimeError("a defect")
    if mode == "hangs":
        time.sleep(60)
    listener = socket.create_server(("127.0.0.1", 0))
    file = home / "platform.json"
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    file.write_text(json.dumps({"api": address, "gateway": "http://localhost:1", "pid": os.getpid()}))
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    file.unlink()


if __name__ == "__main__":
    if sys.argv[1] != WORD:
        raise SystemExit(f"the first argument must be {WORD}")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    main()
