"""The fit of costs: laws that it keeps, and what it made of the boards."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.cores import CORES, CORES_32, Costs
from pfir.cores.issue import FAMILIES, ISSUE
from pfir.devices.estimation.fit import COSTS, GROUPS, Row, by_class, fit
from pfir.instructions import CLASSES, Instructions

ONES = Costs(*(1.0,) * len(COSTS))
TRUE = Costs(1.2, 1.2, 1.5, 1.1, 2.0, 0.7, 0.1, 1.4, 0.2, 0.5, 0.5)
CLOCK = 1.5e9


def _rows(costs, count=20, seed=0, board="", noise=0.0):
    random = np.random.default_rng(seed)
    for _ in range(count):
        instructions = Instructions(*np.exp(random.normal(16, 1, len(CLASSES))))
        error = np.exp(noise * random.standard_normal())
        yield Row(instructions, error * costs.cycles(instructions) / CLOCK, CLOCK, board)


def _values(costs):
    return np.array([getattr(costs, name) for name in COSTS])


def test_costs_and_instructions_have_the_same_classes():
    assert len(COSTS) == len(CLASSES) and sorted(COSTS) == sorted(name for group in GROUPS for name in group)
    assert [name.removesuffix("_byte") for name in COSTS] == [name.removesuffix("_bytes") for name in CLASSES]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_exact_figures_give_the_costs_back(seed):
    """What is expected of a group has the ratios of the truth, and nothing pulls."""
    expected = Costs(*(value * (1 + i % 3) for i, value in enumerate(_values(TRUE))))
    expected = replace(expected, **{name: getattr(TRUE, name) for group in GROUPS if len(group) > 1 for name in group})
    found = fit(list(_rows(TRUE, seed=seed)), expected, pull=0)
    assert _values(found.costs) == pytest.approx(_values(TRUE), rel=1e-4)


@given(scale=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_seconds_twice_as_long_make_costs_twice_as_high(scale):
    rows = list(_rows(TRUE, noise=0.05))
    longer = [replace(row, seconds=scale * row.seconds) for row in rows]
    assert _values(fit(longer, ONES).costs) == pytest.approx(scale * _values(fit(rows, ONES).costs), rel=1e-3)


@pytest.mark.parametrize("wrong", [3.0, 1 / 3])
def test_a_figure_that_is_three_times_off_moves_costs_by_less_than_five_percent(wrong):
    rows = list(_rows(TRUE, noise=0.02))
    fooled = [replace(rows[0], seconds=wrong * rows[0].seconds), *rows[1:]]
    before, after = _values(fit(rows, TRUE).costs), _values(fit(fooled, TRUE).costs)
    assert after == pytest.approx(before, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), noise=st.floats(0, 1), count=st.integers(1, 30))
def test_no_cost_is_negative_or_below_the_least(seed, noise, count):
    rows = list(_rows(TRUE, count, seed, noise=noise))
    least = Costs(*(0.5 * value for value in _values(TRUE)))
    assert (_values(fit(rows, ONES).costs) >= 0).all()
    assert (_values(fit(rows, ONES, least).costs) >= _values(least) * (1 - 1e-6)).all()


def test_one_row_alone_is_met_by_the_expected_costs_times_one_factor():
    row = next(_rows(TRUE))
    found = fit([row], ONES)
    assert found.seconds(row) == pytest.approx(row.seconds, rel=1e-3)
    assert _values(found.costs) == pytest.approx(np.full(len(COSTS), found.costs.vector), rel=0.05)


def test_what_no_row_has_follows_the_others():
    """Of a core whose nets have no dot products their cost is still in proportion to what is expected."""
    rows = [
        replace(row, instructions=replace(row.instructions, dot=0.0), seconds=2 * row.seconds)
        for row in _rows(ONES, 30)
    ]
    rows = [replace(row, seconds=2 * ONES.cycles(row.instructions) / CLOCK) for row in rows]
    assert fit(rows, ONES).costs.dot == pytest.approx(2, rel=0.02)


def test_a_board_has_a_factor_beside_the_costs_of_its_core():
    rows = [*_rows(TRUE, board="one"), *(replace(r, seconds=1.3 * r.seconds) for r in _rows(TRUE, seed=1, board="two"))]
    found = fit(rows, TRUE, standing="one")
    assert found.boards == pytest.approx({"one": 1.0, "two": 1.3}, rel=0.01)
    assert _values(found.costs) == pytest.approx(_values(TRUE), rel=0.01)
    between = fit(rows, TRUE)
    assert between.boards["one"] * between.boards["two"] == pytest.approx(1.0)


def test_waiting_for_memory_is_no_cost_of_instructions():
    rows = [replace(row, seconds=2 * row.seconds, waiting=row.seconds) for row in _rows(TRUE)]
    found = fit(rows, TRUE)
    assert _values(found.costs) == pytest.approx(_values(TRUE), rel=0.01)
    assert found.seconds(rows[0]) == pytest.approx(rows[0].seconds, rel=0.01)


def test_cycles_by_class_are_counts_times_costs():
    row = next(_rows(TRUE))
    assert ONES.cycles(by_class(row.instructions, TRUE)) == pytest.approx(TRUE.cycles(row.instructions))


@pytest.mark.parametrize("core", [*CORES.values(), *CORES_32.values()], ids=lambda core: core.name)
def test_a_core_s_costs_lie_between_what_it_can_start_and_what_would_be_a_fault(core):
    issue, costs = ISSUE[core.name].costs, core.costs
    for name in ("multiply", "half", "dot", "widening", "vector"):
        assert getattr(issue, name) * 0.99 <= getattr(costs, name) <= 3.5 * getattr(issue, name), name
    assert all(getattr(costs, field.name) > 0 for field in fields(costs))
    assert costs.multiply == costs.half


@pytest.mark.parametrize("core", [*CORES.values(), *CORES_32.values()], ids=lambda core: core.name)
def test_a_core_tells_how_far_estimates_err(core):
    errors = core.errors
    assert all(0.02 < errors.of(name) < 0.5 for name in ("float32", "float16", "int8", "elsewhere"))
    assert core.board and set(errors.measured) <= {"float32", "float16", "int8"}
    assert all(errors.of_another_board.of(name) >= errors.of(name) for name in ("float32", "float16", "int8"))


def test_every_core_is_of_one_family():
    named = [core for cores in FAMILIES.values() for core in cores]
    assert sorted(named) == sorted(ISSUE) == sorted([*CORES, *CORES_32])
