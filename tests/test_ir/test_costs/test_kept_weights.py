import numpy as np

from pfir.ir.costs.kept_weights import CODEBOOK, KeptWeight, kept_weights
from pfir.passes.base import Context
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from tests.support.calibration import context
from tests.support.net import Net


def _net():
    net = Net(0)
    x = net.relu(net.conv(net.input(1, 16, 8, 8), 16, 32))
    return net.model((net.conv(x, 32, 16),))


def test_floats_integers_and_codebooks_are_told_apart():
    model = _net()
    floats = list(kept_weights(model).values())
    assert floats == [KeptWeight("float32", 4 * 16 * 32 * 9, 16 * 32 * 9, 0)] * 2
    QuantizeCodebook(4, weighting="none").apply(model, Context())
    for each in kept_weights(model).values():
        assert each == KeptWeight(CODEBOOK, 16 * 32 * 9 // 2 + 16 * 4, 16 * 32 * 9, 0)
    model = _net()
    QuantizeUniform().apply(model, context(model))
    assert {(each.kind, each.size_bytes) for each in kept_weights(model).values()} == {("int8", 16 * 32 * 9)}


def test_a_weight_of_two_layers_is_told_once():
    net = Net(0)
    x, weight = net.input(1, 16, 8, 8), net.w(16, 16, 3, 3)
    model = net.model((net.op("Conv", net.op("Conv", x, weight, pads=[1] * 4), weight, pads=[1] * 4),))
    assert len(kept_weights(model)) == 1


def test_zeros_are_counted_of_floats_and_of_places_in_codebooks():
    model = _net()
    SparsifyWeights(0.5).apply(model, Context())
    before = [each.zeros for each in kept_weights(model).values()]
    assert np.sum(before) == 16 * 32 * 9
    QuantizeCodebook(4, weighting="none").apply(model, Context())
    assert [each.zeros for each in kept_weights(model).values()] == before
