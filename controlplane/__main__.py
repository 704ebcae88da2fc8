"""``python -m controlplane``. What it does is in :mod:`controlplane.main`."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # Ctrl-C has nothing to end yet: it just ends this process. Python's own way, a traceback, tells nobody anything.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # `penstock up` has it wait until here: see penstock/cli/platform.py.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from controlplane.main import main

    sys.exit(main())
