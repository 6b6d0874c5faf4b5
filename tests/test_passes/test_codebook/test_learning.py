import numpy as np
import pytest

from pfir.ir.constants.codebooks import codebook_weights, expand_codebooks
from pfir.passes.base import Context
from pfir.passes.codebook.learning import learnable
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.pipeline import run
from tests.support.calibration import learning, outputs, samples
from tests.test_passes.test_codebook.test_quantize_codebook import net


def _coded(channels=0):
    return run([QuantizeCodebook(bits=2, channels=channels)], net(), Context())[0]


@pytest.mark.parametrize("channels", [0, 8])
def test_a_model_that_learnt_nothing_is_what_it_was(channels):
    coded = _coded(channels)
    found, feeds = learnable(coded), samples(coded, seed=3)
    assert np.allclose(outputs(found.model, feeds), outputs(coded, feeds), atol=1e-6)
    assert found.learnt({}).to_bytes() == coded.for_a_file().to_proto().SerializeToString()


def test_the_gradient_of_a_value_is_the_sum_of_those_of_its_weights():
    coded, original = _coded(), net()
    dense, given, found = coded.clone(), learning(original), learnable(coded)
    expand_codebooks(dense.graph)
    _, ours = given.differentiate(found.training(attach_teacher(found.model, original)))({})
    _, theirs = given.differentiate(attach_teacher(dense, original))({})
    for weight in codebook_weights(coded.graph):
        book = found.books[weight.book.name]
        summed = np.bincount(weight.places.ravel(), theirs[weight.tensor.name].ravel(), 4)
        assert np.allclose(ours[book.move], book.step * summed, rtol=1e-3, atol=1e-5)


def test_a_move_moves_values_and_leaves_zero_where_it_is():
    model = net()
    weight = model.initializers()["c2"]
    weight.values = np.where(np.abs(weight.values) < 0.3, 0, weight.values)
    coded, _ = run([QuantizeCodebook(bits=2)], model, Context())
    found = learnable(coded)
    learnt = found.learnt({book.move: np.ones(4, np.float32) for book in found.books.values()})
    for before, after in zip(codebook_weights(coded.graph), codebook_weights(learnt.graph), strict=True):
        assert np.array_equal(before.values == 0, after.values == 0)
        assert (after.values[before.values != 0] > before.values[before.values != 0]).all()
