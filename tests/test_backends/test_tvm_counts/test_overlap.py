"""What inner loops count as where loads and multiply-adds run side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfir.backends.tvm.counts.integers.dot_blocks import conv_int8
from pfir.backends.tvm.counts.overlap import LOADS, beside, step
from pfir.backends.tvm.schedule.integers.choice import integer_plan
from pfir.cores import VNNI_CORES
from pfir.target import parse_target
from pfir.workload import Tail, Workload

numbers = st.integers(1, 64)


def test_a_step_takes_the_time_of_the_slowest():
    assert step(2, 12, 8) == 12
    assert step(2, 9, 10) == 2 * 10 / LOADS
    assert step(2, 2, 3) == 8  # four cycles from one multiply-add to the next
    assert step(2, 2, 3, copies=4) == 2 * 3 / LOADS


@given(numbers, numbers, numbers)
def test_more_of_anything_never_takes_less(multiplies, loads, more):
    least = step(2, multiplies, loads)
    assert step(2, multiplies + more, loads) >= least and step(2, multiplies, loads + more) >= least >= multiplies


@pytest.mark.parametrize("name", ["arm", "cortex-a55", "armv7"])
def test_on_arm_loads_are_counted_beside_the_multiply_adds(name: str):
    assert beside(parse_target(name), 36, 100) == (36, 100)


def test_on_x86_loads_that_take_longer_count_as_multiply_adds():
    target = parse_target("x86-64:x86-64-v3")
    assert beside(target, 36, 25) == (36, 0)
    assert beside(target, 18, 24) == (2 * 24 / LOADS, 0)


def test_on_x86_loads_beside_dot_products_count_as_nothing():
    work = Workload("conv", (1, 64, 16, 16), (1, 64, 16, 16), (0, 2, 3, 1), (3, 3), pads=(1, 1), dtype="int8")
    vnni = replace(parse_target("x86-64-v4"), cpu=VNNI_CORES[-1])
    for target, loads in ((vnni, False), (parse_target("neoverse-n1"), True)):
        found = conv_int8(target, work, Tail(bias=True), integer_plan(target, work))
        assert (found.load > found.dot / 8) == loads
