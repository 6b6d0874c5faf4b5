"""Pools, reductions, softmax and norms take about what the emulator counted of them."""

from __future__ import annotations

import numpy as np

from pfir.backends.tvm.counts.others.pool import pool
from pfir.target import parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import errors, rows
from tests.test_backends.test_tvm_counts.ours import POOLS, ours

ROWS = rows("pools")


def _within(limit: float, *nodes: str) -> float:
    return np.mean(errors([row for row in ROWS if row.node in nodes], ours) <= limit)


def test_pools_take_what_the_emulator_counted():
    assert _within(0.03, *POOLS) > 0.7 and _within(0.08, *POOLS) > 0.9


def test_reductions_take_what_the_emulator_counted():
    nodes = "GlobalAveragePool", "ReduceMean"
    assert _within(0.04, *nodes) > 0.75 and _within(0.12, *nodes) > 0.9


def test_softmax_and_norms_take_about_what_the_emulator_counted():
    assert _within(0.03, "LayerNormalization") == 1
    assert _within(0.05, "Softmax") == 1


def test_more_channels_of_a_pool_take_more():
    def total(channels: int) -> float:
        data, out = (1, channels, 28, 28), (1, channels, 14, 14)
        work = Workload("pool", data, out, (0, 2, 3, 1), (3, 3), (2, 2), pads=(1, 1), kind="max")
        return pool(parse_target("arm"), work, Tail()).total

    assert total(64) > total(32) > total(16)


def test_multiply_adds_of_exponentials_are_exact():
    for row in ROWS:
        if row.node == "Softmax":
            assert ours(row).multiply == row.counted.multiply
