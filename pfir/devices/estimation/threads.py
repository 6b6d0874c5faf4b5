"""What several threads take of a kernel: the bytes that they share do not go faster, and starting them takes a while.

    seconds(n) = (seconds(1) - shared) / n + shared + start        shared = moved bytes / shared bandwidth

Bytes that a kernel reads and writes pass a cache or a memory that all cores share, at the bandwidth that a board's
published latencies on one, two and four threads tell. That alone holds within 4 % in the median, within 10 % on each
board (benchmarks/results/estimator_cores.md); a share of every net that does not go faster (Amdahl's law) errs by 8 %.
"""

from __future__ import annotations

from pfir.cores import Core

START_CYCLES = 6000.0
"""Waking the threads for one kernel and waiting for the last: boards tell between 0 and 20,000, most no difference."""


def parallel(seconds: float, moved_bytes: float, core: Core, threads: int) -> float:
    """Seconds of a kernel on so many threads, of as many cores.

    Args:
        seconds: On one thread.
        moved_bytes: What it reads and writes, weights too.
        core: The kind of the cores.
        threads: At least 1; one thread takes `seconds`.
    """
    if threads == 1:
        return seconds
    shared = min(moved_bytes / core.shared_bandwidth, seconds)
    return (seconds - shared) / threads + shared + START_CYCLES / core.clock_hz
