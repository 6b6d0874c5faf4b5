"""Memory that nobody needs any more, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
WORTH_BYTES = 400 << 20
"""A process that holds less has nothing worth the tenth of a second that a collection takes."""


_ARENA_MAX, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3
"""Options of glibc's `mallopt`."""
_LARGE, _LARGE_IN_OLDER = 1 << 30, 32 << 20


def keep_freed() -> None:
    """Let this process keep what it frees for what it allocates next, up to `give_back`, where glibc can.

    Each step of a training allocates and frees the same large arrays: as pages of the system, and in heaps of threads
    that glibc shrinks each time, they cost a fault every 4 KB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_ARENA_MAX, 1)
    mallopt(_TRIM_THRESHOLD, _LARGE)
    mallopt(_MMAP_THRESHOLD, _LARGE) or mallopt(_MMAP_THRESHOLD, _LARGE_IN_OLDER)


def give_back() -> None:
    """Collect what only its own cycles hold, and return what lies free in the heap to the system where glibc can.

    Graphs are cycles of nodes and tensors, and their sessions and arrays are large but few, so that Python collects
    them late; and what a stage frees lies piecemeal among longer-lived arrays. Without this, a run's memory only grows.
    """
    if not _STATM.exists() or int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < WORTH_BYTES:
        return
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
