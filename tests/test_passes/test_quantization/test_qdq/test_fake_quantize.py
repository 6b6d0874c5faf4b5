"""Fake quantization: the quantized model's function, gradients that go straight through, and integers out again."""

import numpy as np
import pytest
from onnx import helper

from pfir.ir.training import TrainingGraph
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.quantization.qdq.fake_quantize import SMALLEST, LearntScale, fake_quantized
from pfir.passes.quantization.qdq.integer_layers import integer_layers
from pfir.run.session import Session
from pfir.train.settings import Settings
from pfir.train.steps import Steps
from pfir.train.trainer import fit
from tests.support.calibration import samples
from tests.support.net import model_of, normal
from tests.support.quantizing import quantized
from tests.support.samples import Samples
from tests.support.small_nets import residual, separable, two_convolutions

NETS = {"residual": residual(), "separable": separable(), "plain": two_convolutions()}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_untrained_it_is_the_quantized_model_and_gives_it_back(net):
    model = quantized(net, samples(net), 4)
    fake = fake_quantized(model, 4)
    feeds = samples(net, count=8)
    given, wanted = (Session(m).predict(feeds)["y"] for m in (fake.model, model))
    np.testing.assert_allclose(given, wanted, atol=1e-5 * np.abs(wanted).max())
    back = fake.learnt({}).initializers()
    assert all(np.array_equal(t.values, back[name].values) for name, t in model.initializers().items())


def test_the_given_model_stays_as_it_is():
    model = quantized(NETS["plain"], samples(NETS["plain"]))
    before = model.to_bytes()
    fake_quantized(model, 4).learnt({})
    assert model.to_bytes() == before


def test_distillation_learns_weights_biases_and_scales():
    net = NETS["residual"]
    fake = fake_quantized(quantized(net, samples(net), 4), 4)
    graph = fake.training(attach_teacher(fake.model, net))
    settings = Settings(epochs=6, batch=16, learning_rate=1e-3, jobs=1)
    result = fit(graph, Samples(samples(net, 96)), settings)
    assert result.curve[-1]["loss"] < 0.5 * result.curve[0]["loss"]
    assert set(fake.trainable) <= set(result.arrays)
    learnt = fake.learnt(result.arrays)
    feeds = samples(net, count=8)
    copy = fake.model.clone()
    copy.set_arrays({n: x for n, x in result.arrays.items() if n in copy.initializers()})
    given, wanted = (Session(m).predict(feeds)["y"] for m in (learnt, copy))
    # Biases become whole steps, a hundredth of an activation's.
    np.testing.assert_allclose(given, wanted, atol=0.03 * np.abs(wanted).max())


def test_learnt_integers_stay_within_their_bits():
    net = NETS["plain"]
    fake = fake_quantized(quantized(net, samples(net), 3), 3)
    weights = {mine: 5 * fake.model.initializers()[mine].values for mine in fake.weights.values()}
    held = fake.learnt(weights).initializers()
    assert all(np.abs(held[name].values.astype(int)).max() == 3 for name in fake.weights)


def test_learnt_integers_stay_within_the_bits_of_their_layer():
    net = NETS["plain"]
    model = quantized(net, samples(net), 3)
    names = [layer.node for layer in integer_layers(model)]
    bits = {name: 3 + 2 * (i % 2) for i, name in enumerate(names)}
    fake = fake_quantized(model, bits)
    weights = {mine: 50 * fake.model.initializers()[mine].values for mine in fake.weights.values()}
    held = fake.learnt(weights).initializers()
    largest = {x.node: np.abs(held[x.integers].values.astype(int)).max() for x in integer_layers(model)}
    assert largest == {name: 2 ** (count - 1) - 1 for name, count in bits.items()}


def single():
    """y = DQ(w) x, one weight a channel, quantized in and out."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"], "q"),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"], "d"),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], "dw", axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"], "conv"),
    ]
    held = {
        "sx": np.float32(0.1),
        "zx": np.int8(-28),
        "w": np.array([3, -2, 5], np.int8).reshape(3, 1, 1, 1),
        "sw": np.array([0.2, 0.3, 0.1], np.float32),
        "zw": np.zeros(3, np.int8),
    }
    return model_of(nodes, held, {"x": ["N", 1, 2, 2]}, {"y": ["N", 3, 2, 2]})


def test_gradients_are_those_that_the_paper_writes_down():
    fake = fake_quantized(single(), 4)
    graph = fake.model.graph
    x = np.array([[[[0.33, -0.87], [20.0, -30.0]]]], np.float32)
    slope = normal(1, 3, 2, 2)
    graph.outputs = [_sum(graph, slope)]
    training = fake.training(TrainingGraph(fake.model, "loss", ()))
    _, gradients = Steps(training, {"x": x})({}, {"x": x})
    scale = fake.scales["q"]
    steps = x / np.float32(0.1)
    inside = (steps > -100) & (steps < 155)
    by_scale = np.where(inside, np.rint(steps) - steps, np.clip(np.rint(steps), -100, 155))
    weights = np.array([0.6, -0.6, 0.5], np.float32)
    back = np.einsum("nohw,o->nhw", slope, weights)[:, None]
    assert gradients[scale.move] == pytest.approx(scale.step * np.sum(back * by_scale), rel=1e-4)
    read = 0.1 * np.clip(np.rint(steps), -100, 155)
    by_weight = np.einsum("nohw,nihw->o", slope, read)
    (latent,) = fake.weights.values()
    assert gradients[latent].ravel() == pytest.approx(by_weight, rel=1e-4)
    moves = fake.weight_scales["sw"]
    # The weights are whole steps, and within the bounds no scale moves them.
    assert gradients[moves.move] == pytest.approx(np.zeros(3), abs=1e-4)


def _sum(graph, slope):
    import onnx_graphsurgeon as gs

    loss = gs.Variable("loss", np.float32, [])
    product = gs.Variable("product", np.float32)
    graph.nodes.append(gs.Node("Mul", "times", {}, [graph.outputs[0], gs.Constant("slope", slope)], [product]))
    graph.nodes.append(gs.Node("ReduceSum", "sum", {"keepdims": 0}, [product], [loss]))
    return loss


def test_a_scale_stays_above_zero():
    scale = LearntScale(np.array([0.5], np.float32), 0.1, "move")
    assert scale.value({}) == pytest.approx([0.5])
    assert scale.value({"move": np.array([2], np.float32)}) == pytest.approx([0.7])
    assert scale.value({"move": np.array([-20], np.float32)}) == pytest.approx([SMALLEST * 0.5])
