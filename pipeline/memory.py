"""Memory: how the collector and the allocator are set, so that a million deals need no more than a thousand."""

from __future__ import annotations

import ctypes
import gc

_M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h; mallopt(3)."""

_LARGE = 128 * 1024
"""Bytes from which glibc takes a block from the system and gives it back there: where it begins by itself."""


def ready_for_pages() -> None:
    """Set this process up to read page after page; calling it again changes nothing.

    A page makes tens of thousands of objects that die with it and form no cycles, so the collector looks less often.

    glibc raises its threshold with each large block that is freed, so that after a few pages their bodies lie on the
    heap among small blocks that stay, and the gaps grow: a sweep of 600,000 deals ended with 64 MB of heap, half of it
    gaps. A threshold that is set stays, and so does the heap, at 33 MB. Another C library is left as it is.
    """
    gc.set_threshold(100_000, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
