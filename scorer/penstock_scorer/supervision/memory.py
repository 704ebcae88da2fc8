"""How glibc keeps freed memory.

By default it gives the top of the heap back to the kernel after every large request and takes it again for the next
one, page by page. For a tensor of 1 MiB these page faults cost more than everything else together: 4.0 ms of CPU a
request over HTTP and 4.6 ms over gRPC, 2.0 ms and 2.3 ms without them (benchmarks/scorer/open_inference.py). The
price is at most ``_KEEP`` bytes of free memory in a worker that has seen large requests.
"""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 32 << 20
_MAP_FROM = 16 << 20
"""Larger blocks are mapped, and go back to the kernel when they are freed."""


def keep_freed_memory() -> None:
    """Keep what is freed from now on, unless the environment configures malloc itself, or it is not glibc's."""
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAP_FROM)
        mallopt(_M_TRIM_THRESHOLD, _KEEP)
