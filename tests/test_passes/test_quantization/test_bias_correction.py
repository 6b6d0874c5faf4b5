import numpy as np

from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.bias_correction import correct_biases
from tests.support.calibration import context
from tests.support.net import parsed, random
from tests.support.quantization import residual


def _coarse(model):
    """The model with its weights cut to few digits, downwards, which moves all means."""
    copy = model.clone()
    for tensor in copy.initializers().values():
        if tensor.values.ndim > 1:
            tensor.values = np.floor(tensor.values * 4) / np.float32(4)
    return copy


def _means(model, names):
    batches = list(context(model).activations(model, names))
    return {n: np.mean([b[n].mean(axis=(0, *range(2, b[n].ndim))) for b in batches], axis=0) for n in names}


def test_the_mean_of_every_channel_becomes_that_of_the_float_net():
    net = residual()
    infer_shapes(net)
    names = [n.outputs[0].name for n in net.nodes() if n.op in ("Conv", "Gemm")]
    corrected = net.clone()
    correct_biases(
        corrected, [n.name for n in net.nodes() if n.op in ("Conv", "Gemm")], context(net).activations, _coarse
    )
    wanted, before, after = _means(net, names), _means(_coarse(net), names), _means(_coarse(corrected), names)
    for name in names:
        assert np.abs(after[name] - wanted[name]).max() < 1e-4 < np.abs(before[name] - wanted[name]).max()


def test_only_biases_change():
    net = residual()
    infer_shapes(net)
    corrected = net.clone()
    correct_biases(corrected, ["Conv_1"], context(net).activations, _coarse)
    changed = {
        n for n, t in net.initializers().items() if not np.array_equal(t.values, corrected.initializers()[n].values)
    }
    assert changed == {net.graph.nodes[0].inputs[2].name}


def test_a_layer_without_a_place_for_a_bias_stays():
    net = parsed("net (float[N,2,3] x) => (float[N,2,4] y) { y = MatMul(x, w) }", w=random(3, 4))
    infer_shapes(net)
    correct_biases(net, [net.graph.nodes[0].name], context(net).activations, _coarse)
    assert [n.op for n in net.nodes()] == ["MatMul"]
