"""Chains that are too long get shorter by as few steps as that takes; all other weights stay."""

from __future__ import annotations

import numpy as np

from pfir.ir.costs.chains import LARGEST, largest_chain
from pfir.ir.shapes import fix_sizes
from pfir.passes.quantization.rounding.chains import shorten_chains
from tests.support.net import Net
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet


def _net(weight: np.ndarray):
    net = Net(0)
    q = QuantizedNet(net)
    scale, zero = net.const(np.full(len(weight), 0.01, np.float32)), net.const(np.zeros(len(weight)), np.int8)
    made = net.op("DequantizeLinear", net.const(weight, np.int8), scale, zero, axis=0)
    return fix_sizes(net.model((q.pair(net.op("Conv", q.image(1, weight.shape[1], 4, 4), made)),)))


def test_long_chains_are_shortened_step_by_step():
    weight = np.random.default_rng(0).integers(-127, 128, (6, 72, 1, 1))
    model = _net(weight)
    (name,) = (node.name for node in model.nodes() if node.op == "Conv")
    shorten_chains(model, ())
    assert any(np.array_equal(t.values, weight) for t in model.initializers().values())
    shorten_chains(model, (name,))
    (found,) = (t.values.astype(int) for t in model.initializers().values() if t.values.shape == weight.shape)
    assert largest_chain(found[..., 0]).max() == LARGEST
    before, after = (w[:, :64, 0, 0].reshape(6, 2, 4, 8) for w in (weight, found))
    sums = np.abs(before).sum(axis=2)
    assert np.array_equal(np.abs(after).sum(axis=2), np.minimum(sums, LARGEST))
    assert (np.abs(after) <= np.abs(before)).all() and (after * before >= 0).all()
    assert np.array_equal(found[:, 64:], weight[:, 64:])
