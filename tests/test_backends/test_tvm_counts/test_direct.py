"""Counted instructions of direct convolutions are those that the emulator executes, and their plans are chosen by
them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.backends.tvm.counts.convolutions.direct import direct
from pfir.backends.tvm.schedule.direct import covers, direct_plan, direct_plans
from pfir.target import parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import errors, exact, moved, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = rows("direct")
ARM, X86 = parse_target("arm"), parse_target("x86-64:x86-64-v4")
TAIL = Tail(bias=True, operators=("Relu",))
NHWC = (0, 2, 3, 1)
WIDTHS = st.integers(4, 130)


def _work(inner: int, out: int, batch: int = 1, size: int = 28, stride: int = 2) -> Workload:
    rows = size // stride
    kernel, strides = (3, 3), (stride, stride)
    return Workload("conv", (batch, inner, size, size), (batch, out, rows, rows), NHWC, kernel, strides, pads=(1, 1))


def test_nine_kernels_of_ten_take_what_the_emulator_counts_within_three_percent():
    found = errors(ROWS, ours)
    assert np.mean(found <= 0.03) >= 0.9 and np.mean(found <= 0.05) >= 0.95
    assert np.max(found, where=[row.counted.total >= 10_000 for row in ROWS], initial=0) <= 0.12


def test_the_grid_as_a_whole_takes_what_it_counts():
    for on in {row.on for row in ROWS}:
        assert abs(whole([row for row in ROWS if row.on == on], ours) - 1) < 0.02


def test_multiply_adds_are_exact():
    assert all(exact(ROWS, ours))


def test_loads_and_stores_are_close():
    found = moved(ROWS, ours)
    assert np.mean(np.abs(found) <= 0.05) >= 0.8 and abs(np.mean(found)) < 0.02


def test_the_chosen_plan_takes_no_more_than_others_that_were_counted():
    counted = defaultdict(dict)
    for row in ROWS:
        counted[row.on, str(row.workload), row.tail][str(row.schedule)] = row
    compared = 0
    for plans in counted.values():
        row = next(iter(plans.values()))
        chosen = plans.get(str(direct_plan(row.target, row.workload)))
        compared += len(plans) > 1 and chosen is not None
        assert chosen is None or chosen.counted.total <= 1.015 * min(plan.counted.total for plan in plans.values())
    assert compared > 10


@settings(max_examples=60, deadline=None)
@given(inner=WIDTHS, out=WIDTHS, more=st.sampled_from((4, 8, 20)))
def test_counts_grow_with_whole_vectors_that_are_summed_over(inner, out, more):
    plan = direct_plan(ARM, _work(inner, out))
    few, many = (direct(ARM, _work(n, out), TAIL, plan) for n in (inner, inner + more))
    assert many.multiply > few.multiply and many.load_bytes > few.load_bytes
    assert many.total > 0.97 * few.total  # a loop may add up fewer addresses than what is written out


@settings(max_examples=60, deadline=None)
@given(target=st.sampled_from((ARM, X86)), inner=WIDTHS, out=WIDTHS, stride=st.integers(1, 3))
def test_each_image_of_a_batch_takes_as_much(target, inner, out, stride):
    work = _work(max(inner, 16), max(out, 16), stride=stride)
    plan = direct_plan(target, work)
    one, two, three = (
        direct(target, replace(work, data=(n, *work.data[1:]), out=(n, *work.out[1:])), TAIL, plan) for n in (1, 2, 3)
    )
    assert three.total - two.total == pytest.approx(two.total - one.total)


@settings(max_examples=60, deadline=None)
@given(target=st.sampled_from((ARM, X86)), inner=WIDTHS, out=WIDTHS)
def test_multiply_adds_cover_the_work(target, inner, out):
    """Those at the border are left out; vectors may overlap."""
    work = _work(max(inner, 16), max(out, 16))
    count = direct(target, work, TAIL, direct_plan(target, work))
    assert 0.85 * work.macs <= count.multiply * target.lanes <= 1.6 * work.macs
    assert count.load_bytes >= 4 * count.load and count.store_bytes >= 4 * np.prod(work.out)


@settings(max_examples=60, deadline=None)
@given(inner=WIDTHS, out=WIDTHS, stride=st.integers(1, 2), size=st.sampled_from((7, 14, 28, 56)))
def test_the_plan_takes_hardly_more_instructions_than_others(inner, out, stride, size):
    work = _work(inner, out, size=size, stride=stride)
    assert covers(ARM, work)
    found = [direct(ARM, work, TAIL, plan).total for plan in direct_plans(ARM, work)]
    assert found[0] <= 1.011 * min(found)
