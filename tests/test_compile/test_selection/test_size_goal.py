"""A goal of size is kept by packing: where candidates pack worse than the whole, their limit falls."""

from types import SimpleNamespace

import pytest

from pfir.compile.methods.few_bits import ChosenBits
from pfir.compile.methods.pricing import Limits
from pfir.compile.precision.sizes import SPARE, Sizes
from pfir.compile.selection import size_goal
from pfir.compile.selection.searching import Found
from pfir.compile.selection.size_goal import SizeGoal, average_bits
from pfir.errors import Infeasible
from pfir.report.weights import Files

WHOLE, GRAPH, SIZE = 10_000, 200, 8.0


class Context:
    """Candidates of one parameter, the bytes that they are priced at; as cheap ones as `least` can be made."""

    def __init__(self, least=0.0):
        self.least, self.baseline_s = least, 1.0
        self.pricing = SimpleNamespace(
            cost_of=lambda parameters: SimpleNamespace(size_bytes=parameters["bytes"]),
            warm_starts=lambda: ({"bytes": 5000.0},),
        )

    def projected(self, limits, parameters):
        if limits.size_bytes < self.least:
            raise Infeasible("out of reach")
        return _found(min(parameters["bytes"], limits.size_bytes))


def _found(priced):
    return Found(priced, (), parameters={"bytes": priced})


def _sizes(packed):
    return Sizes(Files(WHOLE, WHOLE, packed, graph_bytes=GRAPH))


@pytest.fixture(params=[1.0, 1.3, 0.8], ids="packs {:g} times its price".format)
def goal(request, monkeypatch):
    """Models are what they are priced at, and pack to so many times that beside their graph."""
    monkeypatch.setattr(size_goal, "sizes_of", lambda request_, model: _sizes(GRAPH + request.param * model))
    monkeypatch.setattr(size_goal, "_projected", lambda context, limits, at: context.projected(limits, at))
    return SizeGoal(None, SIZE, lambda model, average: model, _sizes(GRAPH + 5000), 5000)


def test_a_candidate_is_moved_until_its_file_is_small_enough(goal):
    limits, found = goal.corrected(Context(), Limits(size_bytes=2000.0), _found(2000.0))
    assert goal.keeps(found) and found.parameters["bytes"] <= limits.size_bytes
    assert goal._packed(found).times >= SIZE * SPARE


def test_one_that_is_small_stays(goal):
    small = _found(100.0)
    assert goal.corrected(Context(), Limits(size_bytes=2000.0), small) == (Limits(size_bytes=2000.0), small)


def test_the_last_that_can_be_made_is_given_where_none_is_small(goal):
    _, found = goal.corrected(Context(least=1500), Limits(size_bytes=2000.0), _found(2000.0))
    assert found.parameters["bytes"] >= 1500 and not goal.keeps(found)


def test_a_first_candidate_tells_what_the_others_may_be_priced_at(goal):
    told = goal.calibrated(Context(), Limits())
    found = Context().projected(told.limited(Limits()), {"bytes": 5000.0})
    assert goal.keeps(found)
    assert goal.calibrated(Context(least=4000), Limits()).limited(Limits()).size_bytes > 0


def test_bits_on_average_are_those_of_the_choice():
    assert average_bits(_found(1.0)) is None
    assert average_bits(Found(None, (ChosenBits(3.5),))) == 3.5
