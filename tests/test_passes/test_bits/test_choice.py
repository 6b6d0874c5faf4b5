import numpy as np
import pytest

from pfir.errors import Infeasible
from pfir.ir.shapes import infer_shapes
from pfir.passes.bits.choice import Layers, average_budget, bits_on_average
from pfir.passes.bits.importance import importances
from pfir.passes.quantization.placement import layers_of
from tests.support.calibration import context
from tests.support.net import Net

CHOICES = (2, 4, 8)


def _given(spread: float) -> tuple[Layers, object]:
    """Two layers of equal size, the first with weights so much larger that only it matters."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 4, 6, 6), 4, 4))
    net.output("y", net.head(net.op("Add", x, net.conv(net.op("Mul", x, net.const(spread, np.float32)), 4, 4)), 4))
    model = net.model()
    infer_shapes(model)
    layers = {name: layer for name, layer in layers_of(model).items() if name.startswith("Conv")}
    samples = context(model).activations

    def rounded(name, bits):
        weight = layers[name].weight
        step = np.abs(weight).max() / 2 ** (bits - 1)
        return (np.rint(weight / step) * step).astype(np.float32)

    return Layers(model, layers, importances(model, layers, samples), rounded, CHOICES), samples


def test_bits_go_where_the_outputs_lose_most():
    given, samples = _given(spread=0.01)
    first, second = given.layers
    found = bits_on_average(given, 5, samples)
    assert found[first] == 8 and found[second] == 2


def test_the_same_bits_everywhere_are_kept_where_they_lose_no_more(monkeypatch):
    given, samples = _given(spread=1.0)
    wrong = dict(zip(given.layers, (2, 4), strict=True))
    monkeypatch.setattr("pfir.passes.bits.choice.best_bits", lambda loss, budgets: wrong)
    assert bits_on_average(given, 4, samples) == dict.fromkeys(given.layers, 4)


def test_an_average_counts_every_weight():
    given, samples = _given(spread=1.0)
    budget = average_budget(given.layers, CHOICES, 3.0)
    assert sum(by_bits[4] for by_bits in budget.prices.values()) == pytest.approx(4)
    with pytest.raises(Infeasible, match="the average of bits is 1; the fewest bits of every layer cost 2"):
        bits_on_average(given, 1, samples)


def test_without_samples_all_weights_count_the_same():
    given, samples = _given(spread=0.01)
    assert all((each == 1).all() for each in importances(given.model, given.layers, None).values())
    by_layer = [each.mean() for each in given.importance.values()]
    assert by_layer[1] < 1e-3 * by_layer[0]
