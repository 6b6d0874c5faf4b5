"""What the threads of each board share, fitted to what it took for nets on one, two and four of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.estimator.boards import FITTED, Board, core_of  # noqa: E402
from benchmarks.estimator.nets import counted_on, milliseconds, weight_bytes  # noqa: E402
from pfir.devices.estimation.threads import parallel  # noqa: E402

THREADS = (2, 4)
# Layers that threads are started for: convolutions, pools and sums, rounded, by each net's authors.
LAYERS = {
    "squeezenet": 40,
    "mobilenet": 28,
    "mobilenet_v2": 65,
    "mobilenet_v3": 110,
    "shufflenet": 90,
    "shufflenet_v2": 110,
    "mnasnet": 65,
    "proxylessnasnet": 75,
    "efficientnet_b0": 150,
    "efficientnetv2_b0": 170,
    "regnety_400m": 120,
    "googlenet": 75,
    "resnet18": 30,
    "resnet50": 75,
}
_BANDWIDTHS = np.geomspace(0.5e9, 100e9, 400)


@dataclass(frozen=True)
class Threaded:
    """A net on several threads: seconds on one and on these, what it moves, and how often it starts threads."""

    net: str
    threads: int
    alone: float
    seconds: float
    moved_bytes: float
    layers: int


def threaded(board: Board) -> list[Threaded]:
    """Every net that the board ran on one thread and on several."""
    alone, nets = milliseconds(board), counted_on(board)
    return [
        Threaded(net, threads, alone[net] / 1e3, took / 1e3, moved(board, net), LAYERS[net.removesuffix("_int8")])
        for threads in THREADS
        for net, took in milliseconds(board, threads).items()
        if net in alone and net in nets
    ]


def moved(board: Board, net: str) -> float:
    """Bytes between layers: what is stored is read once more, and weights are read."""
    return 2 * counted_on(board)[net].store_bytes + weight_bytes(board, net)


def errors(board: Board, bandwidth: float) -> list[float]:
    """How far each net on several threads lies off, of what it took."""
    core = replace(core_of(board), shared_bandwidth=bandwidth, clock_hz=board.ghz * 1e9)
    return [_said(row, core) / row.seconds - 1 for row in threaded(board)]


@cache
def bandwidth(board: Board) -> float:
    """Bytes a second that its threads share, by the median error; 0 without figures of several threads.

    At 100 GB/s nets share nothing that could be seen.
    """
    if not threaded(board):
        return 0.0
    each = [float(np.median(np.abs(errors(board, value)))) for value in _BANDWIDTHS]
    return float(_BANDWIDTHS[int(np.argmin(each))])


def amdahl(board: Board) -> float:
    """Median error where a share of every net, the best for this board, does not go faster."""
    rows = threaded(board)
    each = [
        np.median([abs(row.alone * (share + (1 - share) / row.threads) / row.seconds - 1) for row in rows])
        for share in np.linspace(0, 0.6, 121)
    ]
    return float(min(each))


def shared_gb_s(core: str) -> float:
    """Of the first board of the core that tells it; 0 if none does."""
    found = [bandwidth(board) for board in FITTED if board.core == core and threaded(board)]
    return float(f"{found[0] / 1e9:.3g}") if found else 0.0


def _said(row: Threaded, core) -> float:
    """All layers as one kernel, and what starting the others takes."""
    one = parallel(np.array([row.alone]), np.array([row.moved_bytes]), core, row.threads)
    start = parallel(np.zeros(1), np.zeros(1), core, row.threads)
    return float(one[0] + (row.layers - 1) * start[0])
