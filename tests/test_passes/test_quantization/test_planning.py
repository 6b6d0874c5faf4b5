import numpy as np
import pytest

from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.calibration import min_max_range
from pfir.passes.quantization.placement import layers_of, place
from pfir.passes.quantization.planning import Settings, bits_by_layer, constant_layers, plan_quantized
from pfir.passes.quantization.ranges import observe
from tests.support.calibration import context
from tests.support.net import Net
from tests.support.quantization import residual

SETTINGS = Settings(8, 8, min_max_range, per_channel=True, least_error=False)


def _observed(net):
    infer_shapes(net)
    return observe(net, place(net).tensors, context(net).activations)


def test_a_plan_has_a_grid_for_every_tensor_and_integers_for_every_layer():
    net = residual()
    plan = plan_quantized(net, _observed(net), SETTINGS)
    assert set(plan.activations) == set(plan.placement.tensors)
    assert set(plan.weights) == set(plan.integers) == set(plan.placement.layers) and len(plan.integers) == 4
    for name, layer in layers_of(net).items():
        error = np.abs(plan.weights[name].numbers(plan.integers[name]) - layer.weight)
        assert (error <= 0.5001 * plan.weights[name].along(error.ndim)).all()


def test_tensors_that_share_a_grid_have_that_of_the_widest():
    net = Net(0)
    x = net.conv(net.input("N", 3, 6, 6), 3, 4)
    wide = net.conv(net.relu(x), 4, 4)
    net.output("y", net.conv(net.op("Concat", x, wide, axis=1), 8, 2))
    model = net.model()
    histograms = _observed(model)
    plan = plan_quantized(model, histograms, SETTINGS)
    (group,) = (g for g in plan.placement.shared if len(g) > 1)
    low, high = plan.activations[group[0]].bounds
    assert len({plan.activations[name] for name in group}) == 1
    assert high - low >= 0.99 * max(histograms[name].high - histograms[name].low for name in group)


def test_what_is_left_in_float_is_not_planned():
    net = residual()
    plan = plan_quantized(net, _observed(net), SETTINGS, ["Conv_3"])
    assert "Conv_3" not in plan.weights and len(plan.integers) == 3


@pytest.mark.parametrize(("share", "eight"), [(0.0, set()), (0.1, {"b"}), (0.3, {"b", "c"}), (1.0, {"a", "b", "c"})])
def test_the_layers_of_the_fewest_weights_have_eight_bits(share, eight):
    found = bits_by_layer({"a": 70, "b": 10, "c": 20}, 4, share, {})
    assert found == {name: 8 if name in eight else 4 for name in "abc"}


def test_layers_beside_a_constant_are_found():
    net = residual()
    first = net.graph.nodes[0]
    first.inputs[2].values = np.full(8, -1e3, np.float32)  # Relu gives zeros.
    found = constant_layers(net, _observed(net))
    assert found == {"Conv_1": "relu2", "Conv_3": "relu2"}
