"""Memory that nobody needs any more, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
WORTH_BYTES = 400 << 20
"""A process that holds less has nothing worth the tenth of a second that a collection takes."""


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
