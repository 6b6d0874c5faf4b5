"""Any pass with open fields is a method: its candidates are built to be priced, beside those of other methods."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from functools import partial

import pytest

from pfir.compile.methods.branch_ranking import BRANCHES
from pfir.compile.methods.channels import PrunedChannels
from pfir.compile.methods.passes import AppliedPass, SearchedPass, whole_cost
from pfir.compile.methods.pricing import Limits, Pricing
from pfir.compile.methods.sizing import Sizing
from pfir.compile.plan import plan
from pfir.compile.prepare import fixed
from pfir.compile.selection.searching import SearchRun, search_for
from pfir.errors import UsageError
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.costs.sparse_size import sparse_size_bytes
from pfir.passes.base import Pass
from pfir.passes.factorize import Factorize
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.report.progress import Silent
from pfir.space import Parameter, Space
from tests.support.jobs import request, write_model
from tests.test_compile.test_methods.test_branch_ranking import net_of_branches
from tests.test_compile.test_selection.search_context import channels, search_context


@dataclass(frozen=True)
class Narrow(Pass):
    """Keeps one of several shares of all channels; the smaller the share, the cheaper."""

    name = "narrow"
    compresses = True

    share: float | None = None

    @property
    def is_open(self):
        return self.share is None

    def space(self, model, context):
        values = (0.25, 0.5, 0.75, 1.0)
        return (
            Space((Parameter("share", 0.25, 1.0, 1.0, values=values, low_is_cheap=True),)) if self.is_open else Space()
        )

    def with_parameters(self, parameters):
        return replace(self, share=parameters["share"])

    def apply(self, model, context):
        return PruneChannels(ratio=1 - self.share).apply(model, context)


@pytest.fixture(scope="module")
def found(model, data):
    return search_context(model, data=data)


@pytest.fixture(scope="module")
def narrowed(found, model):
    """A context that searches for one share, and nothing else."""
    return _of(found, model, (), Narrow())


@pytest.fixture(scope="module")
def both(found, model):
    """A context that searches for ratios, and for a share of what they leave."""
    return _of(found, model, found.pricing.methods, Narrow())


def _of(found, model, first, searched):
    start = found.models.start
    sized = Sizing(partial(fixed, request=request(model, model)))
    methods = (*first, SearchedPass(start, searched, sized))
    prices = Pricing(methods, whole_cost(methods, start, sized), found.pricing.device)
    candidates = replace(found.candidates, pricing=prices)
    return replace(found, candidates=candidates, score=replace(found.score, candidates=candidates))


def test_its_parameters_stand_under_its_name(narrowed, both, found):
    assert narrowed.pricing.space().names == ("narrow.share",)
    assert both.pricing.space().names == (*found.pricing.space().names, "narrow.share")
    assert narrowed.pricing.nouns == "narrow" and both.pricing.nouns == "pruning and narrow"


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_price_is_that_of_the_model_that_is_built(both, share):
    parameters = both.pricing.space().defaults() | {"narrow.share": share}
    built = both.candidates.build(both.candidates.choices(parameters))
    cost, real = both.pricing.cost_of(parameters), model_cost(built)
    assert (cost.macs, cost.size_bytes) == (real.macs, real.size_bytes)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_zeros_count_in_the_size_of_a_candidate(found, model, share):
    sparse = _of(found, model, (), SparsifyWeights())
    cost = sparse.pricing.cost_of({"sparsify-weights.sparsity": share})
    assert cost.size_bytes == sparse_size_bytes(cost.model()) < (1.2 - share) * sparse.pricing.original.size_bytes


def test_each_candidate_is_priced_once(narrowed):
    parameters = {"narrow.share": 0.5}
    assert narrowed.pricing.cost_of(parameters) is narrowed.pricing.cost_of({"narrow.share": 0.51})


def test_a_search_over_both_keeps_the_limit_and_records_both(both, model, tmp_path):
    asked = request(model, tmp_path, trials=6)
    limits = Limits(macs=both.pricing.original.macs * 0.3)
    best = search_for(both, limits, SearchRun(plan(asked), asked, tmp_path / "search.jsonl", Silent()))
    assert model_cost(best.model).macs <= limits.macs
    assert [type(choice) for choice in best.choices] == [PrunedChannels, AppliedPass]
    assert best.parameters["narrow.share"] in (0.25, 0.5, 0.75, 1.0)
    assert all(text.startswith(("prune-channels{", "narrow{")) for text in best.texts)


def test_warm_starts_of_all_methods_are_tried_side_by_side(both, found):
    starts = both.pricing.warm_starts()
    assert len(starts) == len(found.pricing.warm_starts())
    assert all(set(start) == set(both.pricing.space().names) for start in starts)


def test_a_context_of_it_goes_to_other_processes(narrowed):
    again = pickle.loads(pickle.dumps(narrowed.score))
    assert again({"narrow.share": 0.5}) == narrowed.score({"narrow.share": 0.5})


def test_its_part_of_a_recipe_makes_the_same_choice(found, model):
    pruning = SearchedPass(found.models.start, PruneChannels(), Sizing(partial(fixed, request=request(model, model))))
    chosen = AppliedPass(PruneChannels(ratio=0.25))
    assert pruning.read(chosen.recipe()) == chosen
    with pytest.raises(UsageError, match="does not say how prune-channels was applied"):
        pruning.read({"removed": {}})
    assert channels(found).read({"removed": {"Conv_1": [1, 2]}}).removed["Conv_1"].tolist() == [1, 2]


def test_what_is_of_a_layer_that_went_with_its_branch_is_passed_over(tmp_path):
    path = write_model(tmp_path, net_of_branches(kernel=1))
    found = search_context(path)
    context = _of(found, path, found.pricing.methods, Factorize())
    most = {BRANCHES: float(len(channels(found).branches))}
    parameters = context.pricing.space().defaults() | most
    parameters |= {n: 0.05 for n in parameters if n.startswith("factorize.")}
    _, applied = choices = context.candidates.choices(parameters)
    built, cost = context.candidates.build(choices), context.pricing.cost_of(parameters)
    assert len(applied.chosen.ranks) < sum(n.startswith("factorize.") for n in parameters)
    assert cost.macs == model_cost(built).macs
