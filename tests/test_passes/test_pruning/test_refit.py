import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.pruning.moments import collect
from pfir.passes.pruning.reconstruct import reconstruct
from pfir.passes.pruning.refit import refit
from pfir.run.session import Session
from tests.support.calibration import context, outputs, samples
from tests.support.net import model_of
from tests.support.small_nets import dense_layers, residual, separable, weights


def pruned(net, step=3):
    coupling = channel_groups(net)
    removed = {g.name: np.arange(0, g.size, step) for g in coupling.free()}
    copy = net.clone()
    reconstruct(copy, coupling, removed, collect(net, coupling, context(net)))
    remove_channels(copy, coupling, removed)
    return copy, coupling, removed


def error(net, other):
    feeds = samples(net)
    return float(np.mean((outputs(net, feeds) - outputs(other, feeds)) ** 2))


NETS = {"residual": residual, "separable": separable, "dense": dense_layers}


@pytest.mark.parametrize("name", NETS)
def test_refitting_comes_closer_to_the_teacher_than_reconstruction(name):
    net = NETS[name]()
    infer_shapes(net)
    copy, coupling, removed = pruned(net)
    before = error(net, copy)
    refit(copy, net, coupling, removed, context(net))
    assert error(net, copy) < (0.9 if name == "residual" else 1.001) * before


@pytest.mark.parametrize("name", NETS)
def test_refitting_the_model_itself_changes_nothing(name):
    net = NETS[name]()
    infer_shapes(net)
    copy = net.clone()
    refit(copy, net, channel_groups(net), {}, context(net))
    for tensor, constant in net.initializers().items():
        np.testing.assert_allclose(copy.initializers()[tensor].values, constant.values, atol=1e-3)


@pytest.mark.parametrize("name", NETS)
def test_a_layer_that_was_spoilt_is_learnt_again(name):
    net = NETS[name]()
    infer_shapes(net)
    copy = net.clone()
    first = next(n for n in ("w0", "w1") if n in net.initializers())
    copy.set_arrays({first: net.initializers()[first].values * 0.5})
    spoilt = error(net, copy)
    refit(copy, net, channel_groups(net), {}, context(net))
    assert error(net, copy) < 0.01 * spoilt


def test_of_some_layers_only_those_are_fitted():
    net = residual()
    infer_shapes(net)
    copy, coupling, removed = pruned(net)
    before = {n: c.values for n, c in copy.initializers().items()}
    refit(copy, net, coupling, removed, context(net), only={"w2"})
    changed = {n for n, c in copy.initializers().items() if c.values is not before[n]}
    assert changed == {"w2", "b2"} and not np.allclose(copy.initializers()["w2"].values, before["w2"], atol=1e-3)


def test_refitting_leaves_the_teacher_and_the_interface_alone():
    net = residual()
    infer_shapes(net)
    before = {n: c.values.copy() for n, c in net.initializers().items()}
    copy, coupling, removed = pruned(net)
    refit(copy, net, coupling, removed, context(net))
    assert all(np.array_equal(c.values, before[n]) for n, c in net.initializers().items())
    assert [t.name for t in copy.outputs()] == ["y"] and Session(copy).predict(samples(net, 2))["y"].shape == (2, 4)


def test_a_bias_that_two_layers_share_keeps_both_as_they_are():
    arrays = weights(w1=(6, 3, 1, 1), w2=(6, 6, 1, 1), b=(6,))
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b"], ["a"], "first"),
        helper.make_node("Conv", ["a", "w2", "b"], ["y"], "second"),
    ]
    net = model_of(nodes, arrays, {"x": ["N", 3, 4, 4]}, {"y": ["N", 6, 4, 4]})
    first, second = net.nodes()
    second.inputs[2] = first.inputs[2]
    copy = net.clone()
    copy.set_arrays({"w1": arrays["w1"] * 0.5})
    refit(copy, net, channel_groups(net), {}, context(net))
    assert np.array_equal(copy.initializers()["w1"].values, arrays["w1"] * np.float32(0.5))


def test_without_calibration_data_it_says_so():
    net = residual()
    with pytest.raises(UsageError, match="needs calibration data"):
        refit(net.clone(), net, channel_groups(net), {}, Context())


def test_the_original_teaches_where_lossy_passes_have_made_another_teacher():
    net = residual()
    infer_shapes(net)
    damaged = net.clone()
    damaged.set_arrays({"w1": 0.5 * net.initializers()["w1"].values})
    fitted = {}
    for name, original in (("damaged", None), ("original", net)):
        fitted[name] = damaged.clone()
        refit(fitted[name], damaged, channel_groups(damaged), {}, context(net), original=original)
    assert error(net, fitted["original"]) < 0.5 * error(net, fitted["damaged"])
