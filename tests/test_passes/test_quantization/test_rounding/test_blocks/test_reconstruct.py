"""Blocks that learn: nearer to the float network, never worse, and refusals."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.passes.quantization.rounding.blocks.reconstruct import BlockSettings, reconstruct_blocks
from pfir.run.session import Session
from tests.support.calibration import context, learning, samples
from tests.support.net import model_of
from tests.support.quantizing import quantized
from tests.support.small_nets import residual, separable, weights

SHORT = BlockSettings(steps=150, batch=16)


def error(net, model, feeds):
    wanted, given = (Session(m).predict(feeds)["y"] for m in (net, model))
    return np.square(given - wanted).sum() / np.square(wanted - wanted.mean(0)).sum()


@pytest.mark.parametrize("net", [residual(), separable()], ids=["residual", "separable"])
def test_the_network_comes_nearer_to_the_float_one(net):
    model = quantized(net, samples(net), 3)
    before = error(net, model, samples(net, seed=5))
    assert reconstruct_blocks(model, net, 3, learning(net), SHORT)
    assert error(net, model, samples(net, seed=5)) < before


def test_integers_stay_within_their_bits_and_scales_move():
    net = separable()
    model = quantized(net, samples(net), 3)
    before = {name: tensor.values for name, tensor in model.clone().initializers().items()}
    reconstruct_blocks(model, net, 3, learning(net), SHORT)
    after = {name: tensor.values for name, tensor in model.initializers().items()}
    assert all(np.abs(after[f"w{i}_q"].astype(int)).max() <= 3 for i in (1, 2, 3))
    assert before["r_scale"] != after["r_scale"]
    assert after["r_scale"] * after["w2_s"] == pytest.approx(after["b2_s"])


def test_a_block_that_would_be_worse_keeps_what_it_has():
    net = separable()
    model = quantized(net, samples(net), 8)
    before = model.to_bytes()
    few = BlockSettings(steps=1, rate=5.0, scale_rate=0.0)
    assert reconstruct_blocks(model, net, 8, learning(net), few) == ()
    assert model.to_bytes() == before


def test_without_training_it_is_refused():
    net = separable()
    with pytest.raises(UsageError, match="rounding by blocks needs training"):
        reconstruct_blocks(quantized(net, samples(net)), net, 4, context(net))


def test_an_operator_without_gradient_is_named():
    arrays = weights(w1=(3, 3, 1, 1))
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first"),
        helper.make_node("Floor", ["a"], ["y"], "floor"),
    ]
    net = model_of(nodes, arrays, {"x": ["N", 3, 4, 4]}, {"y": ["N", 3, 4, 4]})
    with pytest.raises(UsageError, match=r"nothing can be learnt step by step: node floor \(Floor\)"):
        reconstruct_blocks(quantized(net, samples(net)), net, 4, learning(net), SHORT)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"samples": 0}, "samples is 0"),
        ({"rate": 0}, "rates are 0 and"),
        ({"dropped": 1}, "dropped is 1; it must be in"),
    ],
)
def test_settings_out_of_range_are_refused(fields, said):
    with pytest.raises(UsageError, match=said):
        BlockSettings(**fields)
