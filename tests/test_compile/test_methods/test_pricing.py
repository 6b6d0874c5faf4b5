import itertools

import pytest

from pfir.compile.methods.pricing import Limits, limits_for
from pfir.compile.request import Goals
from pfir.ir.costs.model_cost import model_cost
from pfir.passes.pruning.prune_channels import RATIO
from tests.test_compile.test_selection.search_context import channels, search_context


@pytest.fixture(scope="module")
def found(model):
    return search_context(model)


def _candidate(found, *ratios):
    return dict(zip((RATIO + g for g in channels(found).groups), ratios, strict=True))


@pytest.mark.parametrize("ratios", [(0, 0, 0), (0.5, 0.5, 0.5), (0.9, 0, 0.3), (0.1, 0.77, 0.6)])
def test_prices_are_those_of_the_model_that_is_built(found, ratios):
    candidate = _candidate(found, *ratios)
    cost = model_cost(found.candidates.build(found.candidates.choices(candidate)))
    kept = channels(found).kept(candidate)
    assert channels(found).scalable.macs_at(kept) == cost.macs
    assert channels(found).scalable.size_bytes_at(kept) == cost.size_bytes


def test_snapping_twice_is_snapping_once_and_removes_no_more_than_asked(found):
    for ratios in itertools.product([0.0, 0.13, 0.5, 0.89], repeat=3):
        asked = _candidate(found, *ratios)
        snapped = found.pricing.snap(asked)
        assert found.pricing.snap(snapped) == snapped
        assert all(snapped[name] <= asked[name] + 1e-9 for name in asked)


def test_removing_more_never_costs_more(found):
    prices = found.pricing.within(Limits(latency_s=1.0, macs=1.0, size_bytes=1.0))
    costs = [prices(_candidate(found, r, r, r)) for r in (0, 0.2, 0.4, 0.6, 0.8)]
    assert costs == sorted(costs, reverse=True)


def test_a_price_is_the_largest_share_of_a_limit(found):
    whole = _candidate(found, 0, 0, 0)
    kept, seconds = channels(found).kept(whole), found.pricing.latency_s(whole)
    limits = Limits(seconds * 2, channels(found).scalable.macs_at(kept) / 3, None)
    assert found.pricing.within(limits)(whole) == pytest.approx(3.0)
    assert found.pricing.within(Limits())(whole) == 0


def test_two_goals_of_latency_bound_by_the_tighter_one():
    assert limits_for(Goals(speedup=2.0, latency_s=0.3), 1.0, 10, 20) == Limits(0.3, None, None)
    assert limits_for(Goals(size=4.0, macs=0.5), 1.0, 10, 20) == Limits(None, 5.0, 5.0)
