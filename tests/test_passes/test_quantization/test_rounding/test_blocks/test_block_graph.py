"""The training graph of a block: the quantized block's error, or the float one's where nothing is quantized."""

import numpy as np
import pytest

from pfir.passes.quantization.rounding.blocks.block_graph import block_graph
from pfir.passes.quantization.rounding.segments import between, segments
from pfir.run.session import Session
from pfir.train.steps import Steps
from tests.support.calibration import samples
from tests.support.net import normal
from tests.support.quantizing import quantized
from tests.support.small_nets import residual

NET = residual()
MODEL = quantized(NET, samples(NET), 4)


def block():
    return next(s for s in segments(MODEL, NET) if s.layers == 2)


def graph():
    return block_graph(between(MODEL, block().inputs, block().outputs), {"r2": 2.0})


def feeds(found, kept):
    x, wanted = np.abs(normal(8, 8, 8, 8)), np.abs(normal(8, 8, 8, 8, seed=1))
    masks = {name: np.full((8, 8, 8, 8), kept) for name in found.kept}
    return {"r0": x, found.targets["r2"]: wanted, **masks}


@pytest.mark.parametrize("kept", [True, False])
def test_the_loss_is_the_error_of_the_block_over_the_variance(kept):
    found = graph()
    given = feeds(found, kept)
    loss, _ = Steps(found.training, given)({}, given)
    held = MODEL.initializers()
    floats = {n: held[f"{n}_q"].values * held[f"{n}_s"].values.reshape(-1, 1, 1, 1) for n in ("w1", "w2")}
    plain = NET.clone()
    plain.set_arrays({n: x.astype(np.float32) for n, x in floats.items()})
    model = MODEL if kept else plain
    y = Session(between(model, block().inputs, block().outputs)).predict({"r0": given["r0"]})["r2"]
    error = np.square(y - given[found.targets["r2"]]).mean() / 2
    assert loss == pytest.approx(error, rel=1e-3)


def test_it_learns_weights_and_a_scale_for_every_group():
    found = graph()
    assert set(found.weights) == {"inner", "outer"}
    assert set(found.training.trainable) == {*found.weights.values(), *found.moves.values()}
    assert set(found.kept.values()) == {"r0", "r1", "a2"}


def test_the_gradient_by_a_weight_is_that_of_finite_differences():
    found = graph()
    given = feeds(found, False)
    steps, name = Steps(found.training, given), found.weights["inner"]
    weight = found.training.model.initializers()[name].values
    direction = normal(*weight.shape, seed=2)
    _, gradients = steps({name: weight}, given)
    slope = np.sum(gradients[name] * direction)
    above, below = (steps({name: weight + shift * direction}, given)[0] for shift in (1e-3, -1e-3))
    assert slope == pytest.approx((above - below) / 2e-3, rel=1e-2)
