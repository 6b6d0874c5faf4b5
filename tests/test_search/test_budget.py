from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.errors import Infeasible
from pfir.search import project, reachable
from pfir.space import Parameter, Space
from tests.test_search.problems import SPACE, cost, snap

RATIOS = st.lists(st.floats(0, 0.9), min_size=4, max_size=4)
LEAST, MOST = reachable(cost, SPACE, snap)


def named(values):
    return dict(zip(SPACE.names, values, strict=True))


HELD = Space((*SPACE.parameters[:3], replace(SPACE.parameters[3], held=True)))


@settings(max_examples=60, deadline=None)
@given(RATIOS, st.floats(LEAST, MOST))
def test_what_is_held_moves_only_where_all_else_does_not_suffice(values, limit):
    wanted = named(values)
    built = project(wanted, cost, limit, HELD, snap)
    assert cost(built) <= limit
    last = HELD.names[3]
    narrowest = snap({p.name: p.high for p in HELD.parameters} | {last: wanted[last]})
    if cost(narrowest) <= limit:
        assert built[last] == snap(wanted)[last]


@settings(max_examples=60, deadline=None)
@given(RATIOS, st.floats(LEAST, MOST))
def test_every_candidate_meets_the_limit_and_no_single_step_fits_any_more(values, limit):
    built = project(named(values), cost, limit, SPACE, snap)
    assert cost(built) <= limit
    assert built == snap(built)
    for name in SPACE.names:
        thicker = next((r for r in (built[name] - k / 64 for k in range(64)) if snap(built | {name: r}) != built), None)
        if thicker is not None and thicker >= 0:
            assert cost(snap(built | {name: thicker})) > limit


@settings(max_examples=60, deadline=None)
@given(RATIOS, st.floats(0.05, 1.0))
def test_without_a_staircase_the_limit_is_reached_closely(values, limit):
    built = project(named(values), cost, limit, SPACE)
    assert limit * 0.99 - 1e-3 <= cost(built) <= limit


def test_the_proportions_of_ratios_are_kept():
    built = project(named([0.1, 0.2, 0.2, 0.4]), cost, 0.7, SPACE, lambda p: {n: round(r, 6) for n, r in p.items()})
    assert built["g1"] / built["g0"] == pytest.approx(2, abs=0.2)
    assert built["g3"] / built["g1"] == pytest.approx(2, abs=0.2)


def test_nothing_is_pruned_where_nothing_need_be():
    assert project(named([0.5] * 4), cost, 1.0, SPACE) == named([0.0] * 4)


def test_a_candidate_that_prunes_nothing_is_lifted_onto_the_limit():
    built = project(named([0.0] * 4), cost, 0.3, SPACE)
    assert cost(built) == pytest.approx(0.3, rel=0.05)


def test_a_limit_out_of_reach_is_infeasible_with_the_range():
    with pytest.raises(Infeasible, match=r"range is 0\.0325 to 1"):
        project(named([0.5] * 4), cost, 0.001, SPACE)


def test_the_reachable_range_is_that_of_the_ends():
    assert reachable(cost, SPACE) == (cost(named([0.9] * 4)), 1.0)


def test_the_same_build_is_costed_once():
    seen = []

    def counted(parameters):
        seen.append(tuple(parameters.values()))
        return cost(parameters)

    project(named([0.3] * 4), counted, 0.5, SPACE, snap)
    assert len(seen) == len(set(seen))


def test_a_parameter_without_a_range_stays():
    space = Space((Parameter("a", 0.0, 0.9, 0.5), Parameter("b", 0.0, 0.0, 0.0)))
    assert project({"a": 0.5, "b": 0.0}, lambda p: 1 - p["a"], 0.5, space)["b"] == 0.0


BITS = Space(
    (
        Parameter("ratio", 0.0, 0.9, 0.45),
        Parameter("bits0", 2.0, 16.0, 8.0, values=(2.0, 4.0, 8.0, 16.0), low_is_cheap=True),
        Parameter("bits1", 2.0, 16.0, 8.0, low_is_cheap=True),
    )
)


def bits_cost(parameters):
    """Bytes of two layers: fewer channels and fewer bits cost less."""
    return (1 - parameters["ratio"]) * (parameters["bits0"] + parameters["bits1"]) / 32


def bits_snap(parameters):
    return {p.name: p.nearest(parameters[p.name]) for p in BITS.parameters}


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(0, 0.9), st.sampled_from((2.0, 4.0, 8.0, 16.0)), st.floats(2, 16)), st.floats(0.02, 1.0))
def test_parameters_that_run_both_ways_meet_the_limit(values, limit):
    wanted = dict(zip(BITS.names, values, strict=True))
    built = project(wanted, bits_cost, limit, BITS, bits_snap)
    assert bits_cost(built) <= limit and built == bits_snap(built)
    assert built["bits0"] in (2.0, 4.0, 8.0, 16.0)
    if bits_cost(wanted) <= limit:
        assert all(_saved(p, built) <= _saved(p, wanted) + 1e-9 for p in BITS.parameters)


def _saved(p, parameters):
    return abs(parameters[p.name] - p.dearest)


def test_the_ends_of_a_space_are_the_cheap_and_the_dear_values():
    assert reachable(bits_cost, BITS, bits_snap) == pytest.approx((0.1 * 4 / 32, 1.0))
