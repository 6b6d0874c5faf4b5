"""What the emulator counted of the kernels of a grid, beside what pfir says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.estimator.grid import target_of
from pfir.backends.tvm.schedule.candidate_schedules import Schedule
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, DepthwiseTile
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
Row = dict[str, Any]


def kept(kind: str) -> list[Row]:
    """The kernels of a grid."""
    return json.loads((RESULTS / f"counted_{kind}.json").read_text())


def counted(row: Row) -> Instructions:
    return Instructions(*row["counted"])


def target(row: Row) -> Target:
    return target_of(row["target"])


def workload(row: Row) -> Workload:
    return Workload(**{k: tuple(v) if isinstance(v, list) else v for k, v in row["workload"].items()})


def tail(row: Row) -> Tail:
    return Tail(**{k: tuple(v) if isinstance(v, list) else v for k, v in row["tail"].items()})


def depthwise_schedule(row: Row) -> Schedule:
    """The tile of a depthwise convolution from its text."""
    words = row["schedule"].replace(",", "").split()
    vectors, lanes, rows = int(words[1]), int(words[3]), int(words[6])
    if "across" in words:
        return AcrossTile(lanes, vectors, rows)
    return DepthwiseTile(lanes, rows, int(words[8]) if "lines" in words else 1, "turn" in words)


def errors(rows: list[Row], count: Callable[[Row], Instructions], small: float) -> dict[str, float]:
    """By how much of the emulator's count each kernel's total differs; of fewer instructions than `small`, of these."""
    return {row["key"]: abs(count(row).total - counted(row).total) / max(small, counted(row).total) for row in rows}


def share_within(found: dict[str, float], limit: float) -> float:
    """The share of kernels that differ by no more."""
    return sum(error <= limit for error in found.values()) / len(found)
