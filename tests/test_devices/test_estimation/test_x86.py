"""Costs of x86 against nets that were measured on a core with AVX2 (benchmarks/estimator/host.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from pfir.artifact import Kernel
from pfir.cores import X86_LEVELS
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.instructions import Instructions
from pfir.target import parse_target
from pfir.workload import Workload

MEASURED = Path(__file__).parents[3] / "benchmarks" / "results" / "estimator_host.json"
CLOCK_HZ = 2.445e9


def test_measured_nets_and_widths_are_estimated_within_a_tenth():
    rows, core = json.loads(MEASURED.read_text()), X86_LEVELS["x86-64-v3"]
    told = [core.costs.cycles(Instructions(**row["instructions"])) / CLOCK_HZ + row["waiting"] for row in rows]
    errors = np.abs(np.array(told) / [row["seconds"] for row in rows] - 1)
    assert len(rows) >= 36 and errors.mean() < core.errors.float32 + 0.01


def test_a_wider_unit_takes_less_of_a_multiply_add():
    narrow, middle, wide = (X86_LEVELS[f"x86-64-v{n}"].costs for n in (2, 3, 4))
    assert narrow.multiply / 4 > middle.multiply / 8 == wide.multiply / 16
    assert wide.vector == 2 * middle.vector == 2 * narrow.vector


def test_weights_wait_only_beyond_the_last_cache():
    target = parse_target("x86-64:x86-64-v3")
    core = target.core
    assert core.kept_bytes == core.l3_bytes > core.l2_bytes
    assert replace(core, l3_bytes=0).kept_bytes == core.l2_bytes
    seconds = [_dense(target, weights) for weights in (0, core.l3_bytes, core.l3_bytes + 16_000_000)]
    assert seconds[0] == seconds[1]
    assert np.isclose(seconds[2] - seconds[1], 16_000_000 / core.bandwidth)


def _dense(target, weights: int) -> float:
    work = Workload("product", (1, 8), (1, 8), (0, 1))
    return EstimateDevice(target).estimate([Kernel("d", "dense", 64, weights + 32, 32, weights, work)]).seconds
