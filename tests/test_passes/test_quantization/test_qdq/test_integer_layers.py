"""Layers of integers: what they are found to be, and biases in steps of new scales."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.passes.quantization.qdq.activation_pairs import activation_pairs, scale_arrays
from pfir.passes.quantization.qdq.integer_layers import fitting_biases, integer_layers, largest_integer
from tests.support.calibration import samples
from tests.support.quantizing import quantized
from tests.support.small_nets import residual, separable

NET = separable()


def model():
    return quantized(NET, samples(NET), 4)


def test_every_layer_is_found_with_its_scale_and_bias():
    found = {layer.node: layer for layer in integer_layers(model())}
    assert list(found) == ["first", "depthwise", "point"]
    assert found["depthwise"].scale.shape == (8, 1, 1, 1)
    assert [layer.bias.tensor for layer in found.values()] == ["b1_q", "b2_q", "b3_q"]


def test_float_models_have_none():
    assert list(integer_layers(NET)) == []


def test_a_dense_layer_has_its_scale_along_its_outputs():
    net = residual()
    head = {layer.node: layer for layer in integer_layers(quantized(net, samples(net)))}["head"]
    assert head.scale.shape == (4, 1)


def test_values_of_a_bias_are_stored_to_half_a_step():
    given = model()
    for layer in integer_layers(given):
        like = given.initializers()[layer.bias.tensor].values
        wanted = layer.bias.values(like) + 0.01
        stored = layer.bias.values(layer.bias.stored(wanted, like))
        assert np.all(np.abs(stored - wanted) <= 0.5001 * np.ravel(layer.bias.scale))


def test_biases_that_fit_are_left_alone():
    given = model()
    held = given.initializers()
    values = {x.bias.tensor: x.bias.values(held[x.bias.tensor].values) for x in integer_layers(given)}
    assert fitting_biases(given, values) == {}


def test_with_another_scale_of_the_data_a_bias_stands_for_the_same():
    given = model()
    held = {name: tensor.values for name, tensor in given.initializers().items()}
    values = {x.bias.tensor: x.bias.values(held[x.bias.tensor]) for x in integer_layers(given)}
    pairs = activation_pairs(given)
    given.set_arrays(scale_arrays(pairs, {pairs[0].group: 1.7 * pairs[0].scale}))
    arrays = fitting_biases(given, values)
    given.set_arrays(arrays)
    assert set(arrays) == {"b1_q", "b1_s"}
    first = next(integer_layers(given))
    np.testing.assert_allclose(first.bias.scale, np.ravel(first.scale) * 1.7 * pairs[0].scale, rtol=1e-6)
    now = first.bias.values(given.initializers()["b1_q"].values)
    assert np.all(np.abs(now - values["b1_q"]) <= 0.5001 * first.bias.scale)


@pytest.mark.parametrize("bits, largest", [(2, 1), (4, 7), (8, 127)])
def test_the_largest_integer_leaves_zero_in_the_middle(bits, largest):
    assert largest_integer(bits) == largest


def test_bits_out_of_range_are_refused():
    with pytest.raises(UsageError, match="weight_bits is 9; it must be 2 to 8"):
        largest_integer(9)
