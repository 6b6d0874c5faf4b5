"""Element-wise kernels, and the tails of others, take what the emulator counted."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.counts.loops import loop_over
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.lowering.expressions import ELEMENTWISE
from pfir.ir.costs.tails import chain_of
from pfir.target import HALF, parse_target
from pfir.workload import Tail
from tests.support.net import Net
from tests.test_backends.test_tvm_counts.kept import errors, rows
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = rows("elements")
# A call that reads two tensors takes several hundred instructions more than one of one, in every library differently.
LARGE = [row for row in ROWS if row.counted.total > 12000]
ONE = [row for row in ROWS if len(row.orders) == 1]


def test_totals_are_those_of_the_emulator():
    found = errors(LARGE, ours)
    assert np.mean(found <= 0.03) > 0.9 and max(found) < 0.06
    assert np.mean(errors(ONE, ours) <= 0.03) > 0.9


def test_operators_take_what_they_took_by_the_vector():
    for row in ONE:
        found, seen = ours(row), row.counted
        assert found.multiply + found.half == pytest.approx(seen.multiply + seen.half, abs=30)
        assert found.vector == pytest.approx(seen.vector, rel=0.08, abs=50)


@pytest.mark.parametrize("operator", sorted(ELEMENTWISE))
def test_every_operator_has_its_price_in_both_types(operator):
    single, half = (tail_of_vector(Tail(operators=(operator,)), 16, dtype) for dtype in ("float32", HALF))
    nothing = operator in ("Identity", "Dropout")
    assert (single.total == 0) == nothing and half.total >= single.total


def test_what_a_tail_reads_is_loaded_and_a_sum_of_a_product_is_one_instruction():
    read = tail_of_vector(Tail(operators=("Add", "Relu"), reads=1), 16)
    assert (read.vector, read.load, read.load_bytes) == (2, 1, 16)
    fused = tail_of_vector(Tail(operators=("Mul", "Add")), 16)
    assert (fused.multiply, fused.vector) == (1, 0)


def test_loops_count_by_what_an_instruction_compares_with():
    arm = parse_target("arm")
    assert [loop_over(arm, rounds, 6).scalar / rounds for rounds in (1600, 7840, 25088)] == [3, 1, 2]
    assert loop_over(arm, 8, 6).written and not loop_over(arm, 100, 6).written


def test_a_chain_is_told_by_its_nodes_and_what_they_read():
    net = Net(0)
    x, y, gate = net.input(1, 8, 4, 4), net.input(1, 8, 4, 4), net.input(1, 8, 1, 1)
    nodes = net.model((net.op("Add", net.op("Mul", net.relu(x), gate), y),)).graph.nodes
    assert chain_of(nodes) == Tail(False, ("Relu", "Mul", "Add"), 1, 1)
