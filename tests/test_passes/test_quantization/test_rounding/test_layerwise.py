"""Layers rounded anew: nearer to the float network than the nearest integers are, and nothing else changed."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.passes.base import Context
from pfir.passes.quantization.qdq.integer_layers import integer_layers
from pfir.passes.quantization.rounding.adaround import AdaRound, adaround
from pfir.passes.quantization.rounding.compensated import compensate
from pfir.run.session import Session
from tests.support.calibration import context, samples
from tests.support.net import model_of
from tests.support.quantizing import quantized
from tests.support.small_nets import residual, separable, weights


def error(net, model):
    feeds = samples(net, seed=5)
    wanted, given = (Session(m).predict(feeds)["y"] for m in (net, model))
    return np.square(given - wanted).sum() / np.square(wanted - wanted.mean(0)).sum()


def quickly(model, net, bits, given):
    return adaround(model, net, bits, given, AdaRound(steps=200, batch=128))


@pytest.mark.parametrize("method", [quickly, compensate])
@pytest.mark.parametrize("net", [residual(), separable()], ids=["residual", "separable"])
def test_the_network_comes_nearer_to_the_float_one(net, method):
    model = quantized(net, samples(net), 4)
    before = error(net, model)
    assert method(model, net, 4, context(net))
    assert error(net, model) < before


@pytest.mark.parametrize("method", [quickly, compensate])
def test_only_what_belongs_to_weights_changes_and_integers_stay_within_their_bits(method):
    net = separable()
    model = quantized(net, samples(net), 3)
    before = {name: tensor.values for name, tensor in model.clone().initializers().items()}
    method(model, net, 3, context(net))
    after = {name: tensor.values for name, tensor in model.initializers().items()}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed and changed <= {f"{kind}{i}_{what}" for kind in "wb" for i in (1, 2, 3) for what in "qs"}
    assert all(np.abs(after[name].astype(int)).max() <= 3 for name in ("w1_q", "w2_q", "w3_q"))
    assert all(after[name].dtype == before[name].dtype for name in changed)


def test_biases_count_in_steps_of_both_scales():
    net = separable()
    model = quantized(net, samples(net), 3)
    compensate(model, net, 3, context(net))
    for layer in integer_layers(model):
        np.testing.assert_allclose(layer.bias.scale, np.ravel(layer.scale) * layer.data_scale, rtol=1e-6)


def test_a_single_scale_for_all_outputs_stays():
    net = separable()
    model = quantized(net, samples(net), 4)
    one = {f"w{i}_s": np.float32(0.1) for i in (1, 2, 3)} | {f"w{i}_z": np.int8(0) for i in (1, 2, 3)}
    model.set_arrays(one)
    assert compensate(model, net, 4, context(net))
    held = model.initializers()
    assert all(held[name].values == value for name, value in one.items())


def test_the_same_seed_rounds_alike():
    net = separable()
    first, again = (quantized(net, samples(net), 4) for _ in range(2))
    for model in (first, again):
        quickly(model, net, 4, context(net))
    assert first.to_bytes() == again.to_bytes()


def test_transposed_convolutions_keep_their_integers():
    arrays = weights(w1=(3, 4, 2, 2), b1=(4,))
    nodes = [helper.make_node("ConvTranspose", ["x", "w1", "b1"], ["y"], "up", strides=[2, 2])]
    net = model_of(nodes, arrays, {"x": ["N", 3, 4, 4]}, {"y": ["N", 4, 8, 8]})
    assert compensate(quantized(net, samples(net), 4), net, 4, context(net)) == ()


def test_without_samples_nothing_can_be_learnt():
    net = separable()
    model = quantized(net, samples(net), 4)
    with pytest.raises(UsageError, match="rounding learns from calibration data, and none was given"):
        compensate(model, net, 4, Context())
    with pytest.raises(UsageError, match="but there are no samples"):
        compensate(model, net, 4, Context(activations=lambda model, names: iter(())))


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits):
    net = separable()
    with pytest.raises(UsageError, match=f"weight_bits is {bits}; it must be 2 to 8"):
        compensate(quantized(net, samples(net)), net, bits, context(net))


@pytest.mark.parametrize("fields", [{"steps": 0}, {"batch": 0}, {"rate": 0}])
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(UsageError, match=f"{next(iter(fields))} is 0; it must be"):
        AdaRound(**fields)
