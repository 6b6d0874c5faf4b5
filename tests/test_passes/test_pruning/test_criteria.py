import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.weights import every_constant
from pfir.passes.base import Context
from pfir.passes.pruning.criteria import CRITERIA, scores
from pfir.passes.pruning.moments import collect
from pfir.passes.pruning.reconstruct import reconstruct
from pfir.run.activations import activations
from tests.support.calibration import context, learning, outputs, samples
from tests.support.net import feeds, model_of
from tests.support.samples import Samples
from tests.support.small_nets import residual, two_convolutions, weights
from tests.support.structures import build

WITHOUT_SCALES = [name for name in CRITERIA if name != "bn-scale"]


def with_gradients(net):
    rng = np.random.default_rng(3)

    def gradients(given, names):
        return {name: rng.normal(0, 1, given.initializers()[name].values.shape) for name in names}

    return learning(net, gradients=gradients)


def asked(net, criterion, given=None):
    return scores(net, channel_groups(net), criterion, given or with_gradients(net))


def changed(net, **arrays):
    copy = net.clone()
    copy.set_arrays(arrays)
    return copy


def batch_normalised():
    arrays = weights(w1=(8, 3, 3, 3), scale=(8,), shift=(8,), m=(8,), w2=(5, 8, 3, 3)) | {"v": np.ones(8, np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first"),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "m", "v"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2"], ["y"], "second"),
    ]
    return model_of(nodes, arrays, {"x": ["N", 3, 9, 9]}, {"y": ["N", 5, 5, 5]})


@pytest.mark.parametrize("criterion", WITHOUT_SCALES)
def test_every_free_group_gets_one_finite_score_a_channel(criterion):
    net = residual()
    found = asked(net, criterion)
    free = channel_groups(net).free()
    assert set(found) == {g.name for g in free}
    for group in free:
        values = found[group.name]
        assert values.shape == (group.size,) and values.dtype == np.float64
        assert np.isfinite(values).all() and (values >= 0).all()


@pytest.mark.parametrize("criterion", [name for name in WITHOUT_SCALES if name not in ("reconstruction", "dcp")])
def test_groups_are_made_comparable_by_their_mean(criterion):
    for values in asked(residual(), criterion).values():
        assert values.mean() == pytest.approx(1)


@pytest.mark.parametrize("criterion", [name for name in WITHOUT_SCALES if name not in ("fpgm", "dcp")])
def test_a_channel_without_weights_matters_least(criterion):
    net = two_convolutions()
    arrays = {name: net.initializers()[name].values.copy() for name in ("w1", "b1", "w2")}
    arrays["w1"][3], arrays["b1"][3], arrays["w2"][:, 3] = 0, 0, 0
    assert asked(changed(net, **arrays), criterion)["first"].argmin() == 3


@pytest.mark.parametrize("criterion", WITHOUT_SCALES)
def test_scores_do_not_change_the_model(criterion):
    net = residual()
    before = {n: c.values.copy() for n, c in net.initializers().items()}
    asked(net, criterion)
    assert all(np.array_equal(c.values, before[n]) for n, c in net.initializers().items())


def test_l1_is_the_sum_of_absolute_weights():
    net = two_convolutions()
    expected = np.abs(net.initializers()["w1"].values.astype(float)).sum((1, 2, 3))
    np.testing.assert_allclose(asked(net, "l1")["first"], expected / expected.mean())


def test_magnitude_is_the_norm_over_producers_and_consumers():
    net = two_convolutions()
    w1, w2 = (net.initializers()[n].values.astype(float) for n in ("w1", "w2"))
    expected = np.sqrt((w1**2).sum((1, 2, 3)) + (w2**2).sum((0, 2, 3)))
    np.testing.assert_allclose(asked(net, "magnitude")["first"], expected / expected.mean())


def test_bn_scale_is_the_absolute_scale():
    net = batch_normalised()
    expected = np.abs(net.initializers()["scale"].values.astype(float))
    np.testing.assert_allclose(asked(net, "bn-scale")["first"], expected / expected.mean())


def test_fpgm_finds_the_filter_nearest_to_all_others():
    net = two_convolutions()
    w1 = net.initializers()["w1"].values.copy()
    w1[5] = w1.mean(0)
    assert asked(changed(net, w1=w1), "fpgm")["first"].argmin() == 5


def test_taylor_is_the_squared_sum_of_weight_times_gradient():
    net = two_convolutions()
    slope = {
        n: np.random.default_rng(i).normal(size=net.initializers()[n].values.shape)
        for i, n in enumerate(("w1", "b1", "w2"))
    }
    given = Context(gradients=lambda m, names: {n: slope[n] for n in names if n in slope})
    values = {n: net.initializers()[n].values * slope[n] for n in slope}
    made = [values["w1"].sum((1, 2, 3)), values["b1"]]
    expected = sum(part**2 for part in made)
    np.testing.assert_allclose(asked(net, "taylor", given)["first"], expected / expected.mean(), rtol=1e-6)
    whole = np.abs(sum(made) + values["w2"].sum((0, 2, 3)))
    np.testing.assert_allclose(asked(net, "group-taylor", given)["first"], whole / whole.mean(), rtol=1e-6)


def test_activation_is_the_energy_that_the_consumer_reads():
    net = two_convolutions()
    (batch,) = [np.concatenate([b["r"] for b in context(net).activations(net, ["r"])])]
    inner = (batch.astype(float) ** 2).mean((0, 2, 3))
    found = asked(net, "activation")["first"]
    # Windows at the border see padding, so that the two agree in order and closely, not exactly.
    np.testing.assert_allclose(found, inner / inner.mean(), rtol=0.1)


@pytest.mark.parametrize("criterion", ["reconstruction", "lasso"])
def test_of_two_equal_channels_one_costs_nothing_and_the_other_does(criterion):
    net = two_convolutions()
    arrays = {name: net.initializers()[name].values.copy() for name in ("w1", "b1", "w2")}
    arrays["w1"][2], arrays["b1"][2] = arrays["w1"][6], arrays["b1"][6] + 0
    found = asked(changed(net, **arrays), criterion)["first"]
    if criterion == "reconstruction":
        twins = sorted(found[[2, 6]])
        assert twins[0] < 1e-3 and twins[1] > 1e-2
    assert np.isfinite(found).all()


def test_reconstruction_scores_rise_with_the_share_of_variance_lost():
    net = two_convolutions()
    found = np.sort(asked(net, "reconstruction")["first"])
    assert found[0] >= 0 and found[-1] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("criterion", ["reconstruction", "lasso"])
def test_channels_chosen_from_moments_cost_less_than_those_chosen_by_size(criterion):
    errors = {}
    for name in ("magnitude", criterion):
        errors[name] = sum(_error_of(two_convolutions(_arrays(seed)), name) for seed in range(4))
    assert errors[criterion] < errors["magnitude"]


def _arrays(seed):
    return weights(seed, w1=(8, 3, 3, 3), b1=(8,), w2=(5, 8, 3, 3), b2=(5,))


def _error_of(net, criterion):
    coupling, given = channel_groups(net), context(net)
    statistics = collect(net, coupling, given)
    worst = np.argsort(scores(net, coupling, criterion, given, statistics)["first"])[:4]
    copy = net.clone()
    reconstruct(copy, coupling, {"first": worst}, statistics)
    remove_channels(copy, coupling, {"first": worst})
    feeds = samples(net)
    return float(np.mean((outputs(copy, feeds) - outputs(net, feeds)) ** 2))


def test_an_unknown_criterion_is_named_with_those_that_are_known():
    with pytest.raises(UsageError, match="criterion is size; it must be one of l1, magnitude"):
        asked(two_convolutions(), "size")


def test_taylor_without_gradients_says_so():
    with pytest.raises(UsageError, match="needs gradients"):
        asked(two_convolutions(), "taylor", Context())


def test_bn_scale_without_any_normalisation_says_so():
    with pytest.raises(UsageError, match="finds nothing to judge"):
        asked(two_convolutions(), "bn-scale")


def test_groups_without_scales_are_judged_by_their_weights():
    arrays = weights(w0=(6, 3, 1, 1), w1=(8, 6, 3, 3), scale=(8,), shift=(8,), m=(8,), w2=(5, 8, 3, 3))
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["z"], "plain"),
        helper.make_node("Conv", ["z", "w1"], ["a"], "first"),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "m", "v"], ["n"], "norm"),
        helper.make_node("Conv", ["n", "w2"], ["y"], "second"),
    ]
    arrays["v"] = np.ones(8, np.float32)
    net = model_of(nodes, arrays, {"x": ["N", 3, 9, 9]}, {"y": ["N", 5, 5, 5]})
    np.testing.assert_allclose(asked(net, "bn-scale")["plain"], asked(net, "magnitude")["plain"])


def nothing_in(net, name, channel):
    """A clone in which the weights that make and read a channel of a group are nearly zero, in bodies too."""
    copy = net.clone()
    group, constants = channel_groups(copy).group(name), every_constant(copy)
    for part in (*group.producing, *group.consuming):
        array = constants[part.tensor].values.copy()
        rows = np.moveaxis(array, part.axis, 0)
        rows[part.positions[channel]] = 0
        constants[part.tensor].values = array
    return copy


@pytest.mark.parametrize("criterion", ["l1", "magnitude", "fpgm"])
def test_channels_are_ranked_by_their_weights_in_bodies_too(criterion):
    net = build("loop_states", 5)
    for group in channel_groups(net).free():
        for channel in range(group.size):
            found = asked(nothing_in(net, group.name, channel), criterion)[group.name]
            assert criterion == "fpgm" or found[channel] == 0
    inner = next(g for g in channel_groups(net).free() if all(p.inner for p in (*g.producing, *g.consuming)))
    assert inner.size > 2 and len(np.unique(asked(net, criterion)[inner.name])) == inner.size


BLIND = {"quantized_operators": ("activation", "reconstruction", "lasso", "taylor", "group-taylor")}


@pytest.mark.parametrize("criterion", [name for name in WITHOUT_SCALES if name != "dcp"])
@pytest.mark.parametrize("family", ["loop_states", "scanned_cell", "quantized_operators"])
def test_what_a_criterion_cannot_see_of_bodies_and_integers_it_leaves_out(family, criterion):
    """Gradients and activations are known of neither: other groups are judged, and where there are none, it says so."""
    net = build(family, 1)
    data = Samples(feeds(net))
    given = Context(
        activations=lambda model, names: activations(model, names, data),
        gradients=lambda model, names: {n: np.ones(model.initializers()[n].values.shape) for n in names},
    )
    if criterion in BLIND.get(family, ()):
        with pytest.raises(UsageError, match="finds nothing to judge any of the 2 groups by"):
            asked(net, criterion, given)
        return
    found = asked(net, criterion, given)
    for group in channel_groups(net).free():
        assert found[group.name].shape == (group.size,) and np.isfinite(found[group.name]).all()


def test_integers_are_ranked_by_what_they_stand_for():
    """A row of the largest integers of all, whose scale is the smallest, and one that is its zero point."""
    net = build("quantized_operators", 1)
    group = channel_groups(net).group("QLinearConv_4")
    (part, bias) = group.producing
    node = next(n for n in net.nodes() if n.name == part.node)
    ints, scale = node.inputs[3].values.copy(), node.inputs[4].values.copy()
    ints[0], ints[1], scale[0] = 127, 0, 1e-7
    net.set_arrays({node.inputs[3].name: ints, node.inputs[4].name: scale})
    found = asked(net, "l1")[group.name]
    assert found[1] == 0 and found[0] < 1e-3 * found[2:].min()
