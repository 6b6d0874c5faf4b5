"""Layers that are scaled and shifted give just that, on every structure family."""

import numpy as np
import pytest

from pfir.ir.edit import Names, held
from pfir.ir.linear_edits import editable_layer
from pfir.ir.shapes import infer_shapes
from tests.support.forward import forward, values_of
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid
from tests.support.structures import FAMILIES, build

TOLERANCE = {"float16": 3e-2, "float32": 2e-4, "float64": 1e-9}


def layers_of(model):
    """The layers of a model that can be edited, one after another, each by a fresh look at the graph."""
    infer_shapes(model)
    names, holding = Names(model.graph), held(model.graph)
    found = (editable_layer(model.graph, node, names, holding) for node in list(model.graph.nodes))
    return [layer for layer in found if layer is not None]


def along(layer, vector):
    return vector.reshape([-1 if axis == layer.axis else 1 for axis in range(layer.rank)])


def assert_close(got, wanted, dtype):
    tolerance = TOLERANCE[np.dtype(dtype).name]
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_scaled_and_shifted(family):
    model, rng = build(family, 7), np.random.default_rng(0)
    values = values_of(model, feeds(model, 7))
    for layer in layers_of(model):
        scale, shift = rng.uniform(0.5, 2, layer.channels), rng.standard_normal(layer.channels)
        before = forward(layer.layer, values)
        if layer.scale_outputs(scale, shift):
            after = forward(layer.layer, values | constants(layer.node))
            assert_close(after, before * along(layer, scale) + along(layer, shift), layer.weight.dtype)
    assert_valid(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_scaled_inputs_are_what_the_layer_then_makes_up_for(family):
    model, rng = build(family, 7), np.random.default_rng(0)
    values = values_of(model, feeds(model, 7))
    for layer in layers_of(model):
        x = values[layer.layer.data.name].astype(np.float64)
        axis = layer.layer.data_axis
        scale, shift = rng.uniform(0.5, 2, x.shape[axis]), rng.standard_normal(x.shape[axis])
        place = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
        moved = {layer.layer.data.name: x * scale.reshape(place) + shift.reshape(place)}
        before = forward(layer.layer, values | moved)
        if layer.scale_inputs(scale, shift):
            assert not layer.layer.adds_zeros
            assert_close(forward(layer.layer, values | constants(layer.node)), before, layer.weight.dtype)
    assert_valid(model)


def constants(node):
    """The constants of a node as they are now, by name."""
    return {t.name: t.values for t in node.inputs if hasattr(t, "values") and t.name}


def test_what_a_gemm_is_multiplied_by_counts_for_shifted_inputs():
    net = Net(0)
    model = net.model((net.op("Gemm", net.input(3, 4), net.w(4, 5), net.w(5), alpha=0.5, beta=-2.0),))
    (layer,), values = layers_of(model), values_of(model, feeds(model))
    before = forward(layer.layer, values | {"in0": values["in0"] * 3.0 + 1.0})
    assert layer.scale_inputs(np.full(1, 3.0), np.ones(1))
    assert_close(forward(layer.layer, values | constants(layer.node)), before, np.float32)


@pytest.mark.parametrize("family", ["chain", "unet", "tokens", "grouped_conv", "grouped_transpose"])
def test_unit_norms_leave_weights_of_unit_norm(family):
    for layer in layers_of(build(family, 1)):
        if layer.scale_outputs(1 / layer.output_norms(), np.zeros(1)):
            np.testing.assert_allclose(layer.output_norms(), 1, rtol=1e-3)


def test_a_product_of_matrices_becomes_a_gemm_where_it_must_hold_a_bias():
    model = build("low_rank", 0)
    products = [layer for layer in layers_of(model) if layer.node.op == "MatMul"]
    layer = products[0]
    assert layer.scale_outputs(np.ones(1), np.full(layer.channels, 2.0)) and layer.node.op == "Gemm"
    np.testing.assert_array_equal(layer.bias(), 2.0)


def test_a_product_of_stacks_refuses_a_bias_and_stays():
    layer = next(x for x in layers_of(build("tokens", 0)) if x.rank == 3)
    before = layer.weight.copy()
    assert not layer.scale_outputs(np.full(1, 2.0), np.ones(layer.channels))
    np.testing.assert_array_equal(layer.weight, before)


def test_a_weight_that_would_overflow_stays():
    layer = layers_of(build("chain", 0))[0]
    before = layer.weight.copy()
    assert not layer.scale_outputs(np.full(1, 1e39), np.zeros(1))
    np.testing.assert_array_equal(layer.weight, before)


def test_a_weight_that_others_share_is_replaced_for_this_layer_alone():
    model = build("shared_weights", 0)
    shared = [x for x in layers_of(model) if len(x.node.inputs[1].outputs) > 1]
    first, second = shared[:2]
    before = second.weight.copy()
    assert first.node.inputs[1] is second.node.inputs[1]
    assert first.scale_outputs(np.full(1, 2.0), np.zeros(1))
    np.testing.assert_array_equal(second.weight, before)
    np.testing.assert_allclose(first.weight, 2 * before)
