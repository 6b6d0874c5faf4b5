"""Bits of weights as a method: priced by a formula, scored as they will be, shared out by an integer programme."""

import pickle

import numpy as np
import pytest

from pfir.compile.methods.few_bits import ChosenBits, FewBits
from pfir.compile.methods.passes import SearchedPass
from pfir.compile.methods.sizing import Sizing
from pfir.ir.costs.sparse_size import sparse_size_bytes
from pfir.ir.shapes import fix_sizes, infer_shapes
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from tests.test_compile.test_selection.search_context import search_context

PASSES = [QuantizeCodebook(bits=None), QuantizeUniform(weight_bits=None)]


@pytest.fixture(scope="module")
def found(model, data):
    return search_context(model, data=data)


@pytest.fixture(scope="module", params=PASSES, ids=lambda each: each.name)
def joined(request, found):
    """A context of channels and bits."""
    return found.beside(FewBits(found.models.start, request.param)).ranked()


def _bits(joined) -> FewBits:
    return joined.pricing.methods[-1]


def _average(joined, bits):
    name = f"{_bits(joined).searched.name}.average_bits"
    return joined.pricing.space().defaults() | {name: bits}


def test_a_candidate_is_priced_by_its_bits_and_computes_as_before(joined):
    whole, few = (joined.pricing.cost_of(_average(joined, bits)) for bits in (8.0, 4.0))
    assert few.size_bytes == pytest.approx(whole.size_bytes / 2, abs=1) and few.macs == whole.macs
    assert few.latency_s(joined.pricing.device) == whole.latency_s(joined.pricing.device)
    assert joined.pricing.cost_of(_average(joined, 4.0)).key == few.key != whole.key


def test_it_is_built_in_floats_and_scored_with_its_bits(joined):
    parameters = _average(joined, 2.0)
    choices = joined.candidates.choices(parameters)
    built = joined.candidates.build(choices)
    rounded = joined.candidates.rounded(built, choices)
    values = [len(np.unique(layer.weight)) for layer in layers_of(_shaped(rounded)).values()]
    assert min(values) < 100 < min(len(np.unique(x.weight)) for x in layers_of(_shaped(built)).values())
    assert joined.score.judged(parameters).divergence > joined.score.judged(_average(joined, 8.0)).divergence


def test_bits_are_on_average_what_was_chosen_and_more_where_they_are_worth_most(joined):
    method, model = _bits(joined), _shaped(joined.models.start)
    layers = layers_of(model)
    for average in (3.0, 4.5):
        bits = method.layer_bits(model, ChosenBits(average))
        total = sum(layer.weight.size for layer in layers.values())
        assert sum(bits[name] * layer.weight.size for name, layer in layers.items()) <= average * total * (1 + 1e-9)
        assert bits.keys() == layers.keys() and len(set(bits.values())) > 1


def test_the_pass_that_does_it_names_the_bits_of_every_layer(joined):
    fixed = _bits(joined).fixed(joined.models.start, ChosenBits(4.0))
    assert not fixed.is_open and dict(fixed.layer_bits).keys() == layers_of(_shaped(joined.models.start)).keys()


def test_zeros_of_a_method_before_it_count(found):
    sparse = SearchedPass(found.models.start, SparsifyWeights(), Sizing(fix_sizes))
    cost = sparse.cost(found.pricing.original, {"sparsify-weights.sparsity": 0.75})
    few = FewBits(found.models.start, PASSES[0]).cost(cost, {"quantize-codebook.average_bits": 4.0})
    assert few.size_bytes == sparse_size_bytes(cost.model(), 4 / 32) < cost.size_bytes / 2


def test_it_goes_to_other_processes(joined):
    again = pickle.loads(pickle.dumps(joined.score))
    assert again(_average(joined, 3.0)) == joined.score(_average(joined, 3.0))


def _shaped(model):
    copy = model.clone()
    infer_shapes(copy)
    return copy
