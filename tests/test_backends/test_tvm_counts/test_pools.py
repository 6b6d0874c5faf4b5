"""Pools, reductions, softmax and norms take about what the emulator counted of them."""

from __future__ import annotations

from pfir.backends.tvm.counts.others.pool import pool
from pfir.backends.tvm.counts.others.reduce import norm, reduce, softmax
from pfir.instructions import Instructions
from pfir.target import parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import Row, counted, errors, kept, share_within, tail, target

ROWS = kept("pools")
KINDS = {"MaxPool": "max", "AveragePool": "average"}
MADE = {"Softmax": softmax, "LayerNormalization": norm}


def _count(row: Row) -> Instructions:
    on, data, out = target(row), tuple(row["shapes"][0]), tuple(row["shapes"][-1])
    sizes, given = {"order": tuple(row["orders"][0]), "dtype": on.arithmetic.data}, row["attributes"]
    if row["node"] not in KINDS:
        make = MADE.get(row["node"], reduce)
        return make(on, Workload(make.__name__, data, out, kind="mean", **sizes), tail(row))
    windows = {
        "kernel": tuple(given["kernel_shape"]),
        "strides": tuple(given["strides"]),
        "pads": tuple(given["pads"][:2]),
    }
    return pool(on, Workload("pool", data, out, kind=KINDS[row["node"]], **windows, **sizes), tail(row))


def _within(limit: float, *nodes: str, small: float = 5000) -> float:
    rows = [row for row in ROWS if row["node"] in nodes]
    return share_within(errors(rows, _count, small), limit)


def test_pools_take_what_the_emulator_counted():
    assert _within(0.03, *KINDS) > 0.7 and _within(0.08, *KINDS) > 0.9


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
        if row["node"] == "Softmax":
            assert _count(row).multiply == counted(row).multiply
