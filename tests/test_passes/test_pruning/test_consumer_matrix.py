"""Consumers as matrices: rows of features times the matrix are the layer's outputs, on every structure family."""

import numpy as np
import pytest

from pfir.ir.coupling.groups import Slice
from pfir.ir.linear import linear_layers, plain_layer
from pfir.passes.pruning import consumer_matrix
from pfir.passes.pruning.consumer_matrix import contraction
from tests.support.forward import products, values_of
from tests.support.net import feeds
from tests.support.structures import FAMILIES, build


def consumers(model):
    """Each plain layer with its consumer's matrix, where it has one."""
    for layer in linear_layers(model):
        if plain_layer(layer.node) is None or layer.weight.inputs:
            continue
        positions = np.arange(layer.weight.values.shape[layer.input_axis])[:, None]
        part = Slice(layer.node.name, layer.node.op, layer.weight.name, layer.input_axis, positions, "weight")
        found = contraction(layer.node, part)
        if found is not None:
            yield layer, found


@pytest.mark.parametrize("most", [consumer_matrix.MAX_FEATURES, 8], ids=["windows", "taps"])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_times_the_matrix_are_the_outputs(family, most, monkeypatch):
    monkeypatch.setattr(consumer_matrix, "MAX_FEATURES", most)
    model = build(family, 9)
    values = values_of(model, feeds(model, 9))
    for layer, found in consumers(model):
        x, weight = values[found.data].astype(np.float64), values[found.tensor]
        places = np.arange(found.places(x.shape))
        made = np.einsum("gof,gpf->gop", found.matrix(weight), found.rows(x, places))
        if not found.window:  # What single positions give, summed over all of them, is what all windows give.
            made, wanted = found.outputs(made.sum(2)), whole(layer, weight, x)
        else:
            wanted = np.moveaxis(products(layer, weight.astype(np.float64), x), found.output_axis, 0)
            made = made.reshape(*made.shape[:2], -1).reshape(-1, made.shape[2])
            wanted = wanted.reshape(wanted.shape[0], -1)
        np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6, err_msg=found.node)


def whole(layer, weight, x):
    """[O] the sum of each output channel if no window were cut off at the border."""
    by_channel = np.moveaxis(x, 1, 0).reshape(layer.layout.groups, -1, x[:, 0].size).sum(2)
    return np.einsum("goit,gi->go", layer.layout.blocks(weight.astype(np.float64)), by_channel).ravel()


@pytest.mark.parametrize("most", [consumer_matrix.MAX_FEATURES, 8], ids=["windows", "taps"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_weight_comes_back_from_its_matrix(family, most, monkeypatch):
    monkeypatch.setattr(consumer_matrix, "MAX_FEATURES", most)
    for _, found in consumers(build(family, 9)):
        weight = build(family, 9).initializers()[found.tensor].values
        again = found.weight(found.matrix(weight), weight)
        assert again.dtype == weight.dtype
        np.testing.assert_array_equal(again, weight)


def test_an_axis_that_is_not_summed_over_is_none():
    layer = next(linear_layers(build("chain", 0)))
    part = Slice(layer.node.name, "Conv", layer.weight.name, layer.output_axis, np.zeros((1, 1), int), "weight")
    assert contraction(layer.node, part) is None
