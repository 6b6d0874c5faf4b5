"""A model quantized in a few ways, of which the nearest to the original is kept."""

import numpy as np
import pytest

from pfir.compile.deadline import Deadline
from pfir.compile.precision import quantizing
from pfir.compile.precision.layers import INTEGERS, Precision, Quantization
from pfir.compile.precision.quantizing import Quantizing, quantized_frame, ready_for_integers
from pfir.errors import UsageError
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.spec import format_pass
from pfir.run.evaluate import reference
from pfir.run.session import Session
from tests.test_compile.test_selection.search_context import run_context


@pytest.fixture(scope="module")
def start(model):
    return run_context(model)


def _quantizing(start, **options):
    return Quantizing(start.samples, reference(start.models.teacher, start.samples.scoring), **options)


def test_the_way_that_stays_nearest_is_kept(start):
    how = _quantizing(start)
    tried = [how._by(way, ready_for_integers(start.models.start), (), how.ends) for way in quantizing.WAYS]
    found = how.nearest(start.models.start, INTEGERS)
    assert found.scores.divergence <= min(each.scores.divergence for each in tried)
    assert found.model.provenance[-1] == found.how.text and found.scores.fidelity > 0.9


def test_a_way_that_is_given_is_taken_as_it_is(start):
    given = QuantizeUniform(weight_bits=4, rounding="adaround")
    found = _quantizing(start, ways=(given,)).nearest(start.models.start, INTEGERS)
    assert found.how.way == given and found.model.provenance[-1] == format_pass(given)


def test_a_first_estimate_takes_few_samples_and_the_first_way(start):
    found = _quantizing(start).first(start.models.start, INTEGERS)
    assert found.how.way == quantizing.WAYS[0] and found.scores.fidelity > 0.9


def test_a_model_that_another_pass_quantized_has_no_way():
    with pytest.raises(UsageError, match=r"quantized by simplify; this version has quantize-uniform only"):
        Quantization("simplify").way  # noqa: B018


def test_without_time_the_first_way_is_taken(start):
    made = _quantizing(start, ends=Deadline.within(-1)).nearest(start.models.start, INTEGERS)
    assert made.how.text == "quantize-uniform{pairs=kernels}"


@pytest.mark.parametrize("left", [(), ("Conv_4",)], ids=["all", "one in float"])
def test_a_frame_with_its_numbers_is_the_quantized_model_byte_by_byte(start, left):
    found = _quantizing(start).nearest(start.models.start, Precision(True, left))
    frame = quantized_frame(start.models.start, found.how)
    frame.set_arrays({name: t.values for name, t in found.model.initializers().items()})
    assert frame.to_bytes() == found.model.to_bytes()


def test_layers_that_went_with_their_branch_are_not_asked_for(start):
    found = _quantizing(start, ends=Deadline.within(-1)).nearest(start.models.start, Precision(True, ("Conv_99",)))
    assert found.how.left_in_float == ()


def test_layers_have_their_sensitivity_as_far_as_there_is_time(start):
    found = _quantizing(start).sensitivities(start.models.start, ("Conv_4", "Gemm_11"))
    assert list(found) == ["Conv_4", "Gemm_11"] and all(loss > 0 for loss in found.values())
    late = _quantizing(start, ends=Deadline.within(-1))
    assert late.sensitivities(start.models.start, ("Conv_4",)) == {}


def test_every_layer_gets_a_bias_and_computes_the_same(start):
    net = start.models.start
    x = start.samples.scoring.batch(np.arange(4))
    answers, same = (Session(each).predict(x) for each in (net, ready_for_integers(net)))
    for name, y in answers.items():
        np.testing.assert_allclose(y, same[name], rtol=1e-5, atol=1e-5)
