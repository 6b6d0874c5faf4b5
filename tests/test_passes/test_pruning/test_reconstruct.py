import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.passes.base import Context
from pfir.passes.pruning.moments import collect
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.pruning.reconstruct import reconstruct
from pfir.run.activations import activations
from pfir.run.session import Session
from tests.support.calibration import context, outputs, samples
from tests.support.models import shared_model
from tests.support.net import feeds, model_of
from tests.support.runs import run
from tests.support.samples import Samples
from tests.support.small_nets import residual, two_convolutions, weights
from tests.support.structures import build


def pruned(net, removed, statistics=None):
    copy, coupling = net.clone(), channel_groups(net)
    if statistics is not None:
        reconstruct(copy, coupling, removed, statistics)
    remove_channels(copy, coupling, removed)
    return copy


def error(net, other):
    feeds = samples(net)
    return float(np.mean((outputs(net, feeds) - outputs(other, feeds)) ** 2))


def first_group(net):
    return channel_groups(net).free()[0]


def three_quarters(net):
    return {g.name: np.arange(0, g.size, 4) for g in channel_groups(net).free()}


def chain(second, arrays, border, **attributes):
    """A dense or convolutional producer of 8 channels on x, a Relu, then the node under test."""
    nodes = [
        helper.make_node(second[0], ["x", "w1", "b1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node(second[1], ["r", "w2", *(["b2"] if "b2" in arrays else [])], ["y"], "second", **attributes),
    ]
    return model_of(nodes, arrays, *border)


CONSUMERS = {
    "same padding": lambda: two_convolutions(),
    "strides and dilations": lambda: two_convolutions(strides=[2, 1], dilations=[2, 1], pads=[0, 1, 2, 3]),
    "SAME_LOWER": lambda: two_convolutions(auto_pad="SAME_LOWER", pads=None, strides=[2, 2]),
    "SAME_UPPER": lambda: two_convolutions(auto_pad="SAME_UPPER", pads=None, strides=[2, 2]),
    "VALID": lambda: two_convolutions(auto_pad="VALID", pads=None),
    "1-D": lambda: chain(
        ("Conv", "Conv"),
        weights(w1=(8, 3, 3), b1=(8,), w2=(5, 8, 3), b2=(5,)),
        ({"x": ["N", 3, 40]}, {"y": ["N", 5, None]}),
    ),
    "3-D": lambda: chain(
        ("Conv", "Conv"),
        weights(w1=(8, 2, 1, 1, 1), b1=(8,), w2=(5, 8, 2, 2, 2), b2=(5,)),
        ({"x": ["N", 2, 4, 4, 4]}, {"y": ["N", 5, None, None, None]}),
    ),
    "grouped": lambda: chain(
        ("Conv", "Conv"),
        weights(w1=(8, 3, 1, 1), b1=(8,), w2=(6, 4, 3, 3), b2=(6,)),
        ({"x": ["N", 3, 9, 9]}, {"y": ["N", 6, None, None]}),
        group=2,
    ),
    "transposed": lambda: chain(
        ("Conv", "ConvTranspose"),
        weights(w1=(8, 3, 3, 3), b1=(8,), w2=(8, 5, 2, 2), b2=(5,)),
        ({"x": ["N", 3, 9, 9]}, {"y": ["N", 5, None, None]}),
        strides=[2, 2],
    ),
    "Gemm": lambda: chain(
        ("Gemm", "Gemm"),
        weights(w1=(12, 8), b1=(8,), w2=(8, 5), b2=(5,)),
        ({"x": ["N", 12]}, {"y": ["N", 5]}),
        alpha=0.5,
        beta=2.0,
    ),
    "Gemm, transposed": lambda: chain(
        ("Gemm", "Gemm"),
        weights(w1=(12, 8), b1=(8,), w2=(5, 8), b2=(5,)),
        ({"x": ["N", 12]}, {"y": ["N", 5]}),
        transB=1,
    ),
    "MatMul": lambda: chain(
        ("Gemm", "MatMul"), weights(w1=(12, 8), b1=(8,), w2=(8, 5)), ({"x": ["N", 12]}, {"y": ["N", 5]})
    ),
    "no bias": lambda: chain(
        ("Conv", "Conv"),
        weights(w1=(8, 3, 3, 3), b1=(8,), w2=(5, 8, 3, 3)),
        ({"x": ["N", 3, 9, 9]}, {"y": ["N", 5, None, None]}),
    ),
}


@pytest.mark.parametrize("name", CONSUMERS)
def test_reconstruction_leaves_less_error_than_removal_alone(name):
    net = CONSUMERS[name]()
    removed = {first_group(net).name: np.array([1])}
    alone, helped = (
        error(net, pruned(net, removed)),
        error(net, pruned(net, removed, collect(net, channel_groups(net), context(net)))),
    )
    assert helped < 0.9 * alone


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_duplicated_channel_is_made_up_for_exactly_where_calibrated(name):
    net = CONSUMERS[name]()
    arrays = {n: c.values.copy() for n, c in net.initializers().items()}
    group = first_group(net)
    # Channel 0 gets a twin; in grouped convolutions a channel lies in every group.
    for part in group.producing:
        rows = np.moveaxis(arrays[part.tensor], part.axis, 0)
        rows[part.positions[0]] += part.role == "bias"  # So that it is active often enough to be missed.
        rows[part.positions[1]] = rows[part.positions[0]]
    net.set_arrays(arrays)
    removed = {group.name: np.array([0])}
    helped = pruned(net, removed, collect(net, channel_groups(net), context(net)))
    feeds = samples(net)
    np.testing.assert_allclose(outputs(helped, feeds), outputs(net, feeds), atol=1e-3)
    assert error(net, helped) < 1e-4 < error(net, pruned(net, removed))


@pytest.mark.parametrize("name", CONSUMERS)
def test_reconstructing_with_nothing_removed_changes_nothing(name):
    net = CONSUMERS[name]()
    copy, coupling = net.clone(), channel_groups(net)
    statistics = collect(net, coupling, context(net))
    reconstruct(copy, coupling, {first_group(net).name: np.array([], int)}, statistics)
    for tensor, constant in net.initializers().items():
        assert np.array_equal(copy.initializers()[tensor].values, constant.values)


def test_a_residual_stream_is_reconstructed_at_all_its_consumers():
    net = residual()
    removed = three_quarters(net)
    alone = error(net, pruned(net, removed))
    helped = error(net, pruned(net, removed, collect(net, channel_groups(net), context(net))))
    assert helped < 0.3 * alone


def test_reconstruction_never_writes_into_shared_arrays():
    net = residual()
    before = {n: c.values.copy() for n, c in net.initializers().items()}
    pruned(net, three_quarters(net), collect(net, channel_groups(net), context(net)))
    assert all(np.array_equal(c.values, before[n]) for n, c in net.initializers().items())


def test_a_weight_that_two_nodes_share_is_reconstructed_for_both():
    arrays = weights(w1=(8, 3, 1, 1), b1=(8,), w2=(5, 8, 1, 1), b2=(5,))
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Sigmoid", ["a"], ["s"], "sigmoid"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["y1"], "left"),
        helper.make_node("Conv", ["s", "w2", "b2"], ["y2"], "right"),
        helper.make_node("Add", ["y1", "y2"], ["y"], "add"),
    ]
    net = model_of(nodes, arrays, {"x": ["N", 3, 6, 6]}, {"y": ["N", 5, 6, 6]})
    statistics = collect(net, channel_groups(net), context(net))
    assert not statistics["w2"].centred
    removed = {first_group(net).name: np.array([2])}
    assert error(net, pruned(net, removed, statistics)) < error(net, pruned(net, removed))


def test_a_matmul_with_an_add_behind_it_uses_that_as_its_bias():
    arrays = weights(w1=(12, 8), b1=(8,), w2=(8, 5), b2=(5,))
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m"], "first"),
        helper.make_node("Add", ["m", "b1"], ["a"], "plus"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["n"], "second"),
        helper.make_node("Add", ["b2", "n"], ["y"], "plus2"),
    ]
    net = model_of(nodes, arrays, {"x": ["N", 12]}, {"y": ["N", 5]})
    statistics = collect(net, channel_groups(net), context(net))
    assert statistics["w2"].centred
    removed = {first_group(net).name: np.array([2])}
    helped = pruned(net, removed, statistics)
    feeds = samples(net)
    np.testing.assert_allclose(outputs(helped, feeds).mean(0), outputs(net, feeds).mean(0), atol=1e-4)


def test_wide_windows_are_reconstructed_position_by_position(monkeypatch):
    monkeypatch.setattr("pfir.passes.pruning.consumer_matrix.MAX_FEATURES", 16)
    net = two_convolutions()
    statistics = collect(net, channel_groups(net), context(net))
    assert statistics["w2"].second.shape == (1, 8, 8)
    removed = {first_group(net).name: np.array([1])}
    assert error(net, pruned(net, removed, statistics)) < error(net, pruned(net, removed))


def test_without_calibration_data_it_says_so():
    net = two_convolutions()
    with pytest.raises(UsageError, match="needs calibration data, and none was given"):
        collect(net, channel_groups(net), Context())


def test_without_samples_it_says_so():
    net = two_convolutions()
    with pytest.raises(UsageError, match="no samples"):
        collect(net, channel_groups(net), Context(activations=lambda given, names: iter(())))


def test_activations_that_overflow_leave_their_consumers_as_they_are():
    net = two_convolutions()

    def activations(given, names):
        for batch in context(given).activations(given, names):
            yield {name: np.full_like(x, np.inf) for name, x in batch.items()}

    assert collect(net, channel_groups(net), Context(activations=activations)) == {}


def test_a_weight_beyond_float16_is_left_as_it_was():
    net = two_convolutions()
    statistics = collect(net, channel_groups(net), context(net))
    net.set_arrays({"w2": np.full((5, 8, 3, 3), 60000, np.float16)})
    copy = net.clone()
    with np.errstate(over="ignore"):
        reconstruct(copy, channel_groups(net), {"first": np.arange(1, 8)}, statistics)
    assert np.array_equal(copy.initializers()["w2"].values, net.initializers()["w2"].values)


def test_a_real_network_loses_far_less_with_reconstruction():
    net = load(shared_model("mltk_image_classification_fp32.onnx"))
    coupling = channel_groups(net)
    (spec,) = net.inputs()
    x = np.random.default_rng(0).normal(0, 1, (64, *spec.shape[1:])).astype(np.float32).cumsum(1) / 4

    data = Samples({spec.name: x})
    statistics = collect(net, coupling, Context(activations=lambda m, names: activations(m, names, data, 32)))
    removed = {g.name: np.arange(0, g.size, 5) for g in coupling.free()}
    truth = next(iter(Session(net).predict({spec.name: x}).values()))
    errors = [
        float(np.mean((next(iter(Session(p).predict({spec.name: x}).values())) - truth) ** 2))
        for p in (pruned(net, removed), pruned(net, removed, statistics))
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("family", ["half_precision", "double_precision"])
def test_other_precisions_are_reconstructed_and_refitted_too(family):
    """Their inner tensors have no type before shapes are inferred."""
    net = build(family, 1)
    rng = np.random.default_rng(0)
    given = {n: rng.standard_normal((64, *x.shape[1:])).astype(x.dtype) for n, x in feeds(net).items()}
    seen = Context(activations=lambda model, names: activations(model, names, Samples(given), 16))
    errors = []
    for ways in ({}, {"reconstruct": True}, {"reconstruct": True, "steps": 2}):
        copy = net.clone()
        PruneChannels(ratio=0.34, **ways).apply(copy, seen)
        assert {c.values.dtype for c in copy.initializers().values()} == {next(iter(given.values())).dtype}
        errors.append(float(np.mean((run(copy, given)[0] - run(net, given)[0]).astype(np.float64) ** 2)))
    assert errors[2] < errors[1] < 0.8 * errors[0]
