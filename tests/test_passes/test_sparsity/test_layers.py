"""Which weights may become sparse, and why others may not."""

import numpy as np
import pytest

from pfir.ir.linear import plain_layer
from pfir.passes.base import Context
from pfir.passes.sparsity.layers import sparse_layers
from pfir.passes.sparsity.patterns import Pattern, parse_pattern
from tests.support.net import Net, parsed, random
from tests.support.runs import run
from tests.support.small_nets import residual, separable


def layers(net, pattern="unstructured", **context):
    found, reasons = sparse_layers(net, parse_pattern(pattern), Context(**context))
    return {node for layer in found for node in layer.nodes}, reasons


def test_depthwise_layers_and_the_first_of_an_image_stay_dense():
    found, reasons = layers(separable())
    assert found == {"point"} or len(found) == 1
    assert list(reasons) == ["their outputs sum fewer than 4 channels"] and len(*reasons.values()) == 2


def test_layers_to_keep_stay_and_of_those_named_alone_all_others():
    assert layers(residual(), keep=("inner",))[1]["they are to be kept"] == ["inner"]
    assert layers(residual(), only=("inner",))[0] == {"inner"}


def test_layers_that_the_pattern_does_not_divide_stay_dense():
    found, reasons = layers(residual(width=6), "4x1")
    assert found == {"head"} and reasons["6 outputs are no multiple of 4"] == ["inner", "outer"]


def test_a_weight_that_two_layers_share_is_one():
    net = parsed("net (float[N,8] x) => (float[N,8] y) { a = MatMul(x, w) y = MatMul(a, w) }", w=random(8, 8))
    (layer,), reasons = sparse_layers(net, Pattern(), Context())
    assert len(layer.nodes) == len(layer.uses) == 2 and not reasons


@pytest.mark.parametrize(
    "text",
    [
        "a = MatMul(x, w) y = Gemm<transB = 1>(a, w)",
        "y = MatMul(x, w) z = Identity(w)",
    ],
)
def test_a_weight_that_is_read_in_another_way_too_stays_dense(text):
    net = parsed(f"net (float[8,8] x) => (float[8,8] y) {{ {text} }}", w=random(8, 8))
    assert layers(net)[1]["their weights are read elsewhere, too"]


def test_a_weight_that_a_body_reads_stays_dense():
    net = Net(0)
    x, weight = net.input(3, 8), net.w(8, 8)
    before = net.op("MatMul", x, weight)
    branches = [net.body(lambda: (net.op("MatMul", before, weight),)) for _ in range(2)]
    net.output("y", net.op("If", net.const(True), then_branch=branches[0], else_branch=branches[1]))
    assert layers(net.model())[1] == {"their weights are read elsewhere, too": ["MatMul_1"]}


LAYERS = {
    "conv": lambda net: net.conv(net.input(2, 8, 6, 6), 8, 4),
    "grouped": lambda net: net.conv(net.input(2, 8, 6, 6), 8, 4, group=2),
    "transposed": lambda net: net.op("ConvTranspose", net.input(2, 8, 6, 6), net.w(8, 4, 3, 3), kernel_shape=[3, 3]),
    "grouped transposed": lambda net: net.op("ConvTranspose", net.input(2, 8, 6, 6), net.w(8, 4, 3, 3), group=2),
    "dense": lambda net: net.dense(net.input(2, 8), 8, 4),
    "product": lambda net: net.linear(net.input(2, 8), 8, 4),
    "weights first": lambda net: net.op("MatMul", net.w(4, 8), net.input(8, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_matrix_goes_back_to_the_weight_it_came_from(name):
    net = Net(0)
    model = net.model((LAYERS[name](net),))
    (layer,), _ = sparse_layers(model, Pattern(), Context())
    like = model.initializers()[layer.tensor].values
    assert np.array_equal(layer.stored(layer.weight, like), like)
    assert layer.rows.size == like.size and layer.is_measurable == (name in ("conv", "grouped", "dense", "product"))


@pytest.mark.parametrize("name", ["conv", "grouped", "dense", "product"])
def test_outputs_are_products_of_what_is_read_with_rows_of_the_matrix(name):
    net = Net(0)
    model = net.model((LAYERS[name](net),))
    (layer,), _ = sparse_layers(model, Pattern(), Context())
    (use,) = layer.uses
    x = random(*model.inputs()[0].shape, seed=5)
    y = run(model, {model.inputs()[0].name: x})[0]
    node = next(n for n in model.nodes() if plain_layer(n) is not None)
    bias = node.inputs[2].values if len(node.inputs) > 2 else model.initializers()[use.bias].values if use.bias else 0
    rows = use.rows(x, np.arange(use.places(x.shape)))
    made = np.matmul(rows, layer.weight.swapaxes(1, 2)).swapaxes(0, 1).reshape(-1, 4) + bias
    wanted = np.moveaxis(y, 1 if y.ndim > 2 else use.output_axis, -1).reshape(-1, 4)
    assert np.allclose(made, wanted, atol=1e-4)
