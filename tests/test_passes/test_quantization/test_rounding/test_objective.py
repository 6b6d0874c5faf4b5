"""The error of a layer: nothing where nothing changed, and its gradient by finite differences."""

import numpy as np
import pytest

from pfir.passes.quantization.rounding.flow import Flow
from pfir.passes.quantization.rounding.goals import goal_of
from pfir.passes.quantization.rounding.layers import quantized_layers
from pfir.passes.quantization.rounding.objective import Objective
from pfir.passes.quantization.rounding.rows import Rows, rows_of
from pfir.passes.quantization.rounding.segments import segments
from tests.support.calibration import context, samples
from tests.support.net import normal
from tests.support.quantizing import quantized
from tests.support.small_nets import separable

NET = separable()


def objective(name="first", bits=8, bounds=None):
    model = quantized(NET, samples(NET), bits)
    layer = quantized_layers(model, NET, bits)[name]
    (segment,) = segments(model, NET)
    goal = goal_of(layer.own.layer.node, NET, ())
    flow, rng = Flow(model, NET, context(NET), 16), np.random.default_rng(0)
    rows = rows_of(layer.own.layer.data.name, goal, layer.matrix, segment, flow, rng)
    bias = NET.initializers()[f"b{ {'first': 1, 'depthwise': 2, 'point': 3}[name] }"].values
    return Objective(
        layer.weight, layer.own.scale, layer.own.layer.factor, layer.matrix, rows, bounds or goal.bounds, bias
    )


@pytest.mark.parametrize("name", ["first", "depthwise", "point"])
def test_float_weights_on_nearly_float_inputs_have_next_to_no_error(name):
    found = objective(name)
    energy = found.error(np.zeros_like(found.weight))
    assert found.error(found.weight) < 1e-3 * energy


@pytest.mark.parametrize("name", ["first", "depthwise"])
def test_the_gradient_is_that_of_finite_differences(name):
    found = objective(name)
    weight = found.weight + 0.1 * normal(*found.weight.shape)
    direction, every = normal(*found.weight.shape, seed=1), np.arange(found.count)
    slope = (found.error(weight + 1e-3 * direction) - found.error(weight - 1e-3 * direction)) / 2e-3
    assert np.sum(found.gradient(weight, every) * direction) == pytest.approx(slope, rel=1e-2)


def test_the_gap_is_what_a_bias_has_to_carry():
    found = objective("point")
    weight = 0.5 * found.weight
    shift = found.gap(weight)
    assert found.error(weight, shift) < found.error(weight)
    assert found.error(weight, shift) <= min(found.error(weight, 0.9 * shift), found.error(weight, 1.1 * shift))


def test_moments_tell_the_weights_of_the_least_error():
    found = objective("point")
    second, cross = found.moments()
    best = np.linalg.solve(second, cross.swapaxes(1, 2)).swapaxes(1, 2).astype(np.float32)
    least = found.error(best, found.gap(best))
    for seed in range(3):
        other = best + 0.01 * normal(*best.shape, seed=seed)
        assert least <= found.error(other, found.gap(other))


def test_what_stands_beside_is_added_before_the_bounds():
    found = objective("point")
    layer = quantized_layers(quantized(NET, samples(NET), 8), NET, 8)["point"]
    x = normal(1, 10, 8)
    y = np.matmul(x, found.weight.swapaxes(1, 2))
    beside = normal(1, 10, 4)
    given = Objective(
        layer.weight, layer.own.scale, layer.own.layer.factor, layer.matrix, Rows(x, y + beside, beside), (0.0, np.inf)
    )
    assert given.error(found.weight) == pytest.approx(0, abs=1e-9)
    assert not given.has_bias
