"""Ratios mean what they say, the cost goal is met with as little as possible, and requests are respected."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.errors import FrontendError, Infeasible, UsageError
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups, remove_channels
from pfir.passes.base import Context
from pfir.passes.pruning.criteria import scores
from pfir.passes.pruning.prune_channels import PruneChannels, choose, choose_by_macs, kept_channels
from tests.support.calibration import context, samples
from tests.support.masking import mask
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import build


def _wide(widths=(10, 12)) -> object:
    net = Net(3)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, widths[0]))
    x = net.relu(net.conv(x, widths[0], widths[1]))
    return net.model((net.head(x, widths[1]),))


def _sizes(model) -> dict[str, int]:
    return {g.name: g.size for g in channel_groups(model).free()}


def test_a_ratio_is_the_share_removed_from_every_group():
    model = _wide()
    change = PruneChannels(ratio=0.3).apply(model, Context())
    assert change.changed
    assert _sizes(model) == {"Conv_1": 7, "Conv_3": 9}
    assert_valid(model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_before_they_rank(value):
    model = _wide()
    name, weight = next((n, t.values.copy()) for n, t in model.initializers().items() if t.values.ndim == 4)
    weight[1, 0, 0, 0] = value
    model.set_arrays({name: weight})
    with pytest.raises(FrontendError, match=f"weight '{name}' of node 'Conv_1' is {value}"):
        PruneChannels(ratio=0.3).apply(model, Context())
    assert _sizes(model) == {"Conv_1": 10, "Conv_3": 12}


def test_ratios_name_groups_and_leave_the_others():
    model = _wide()
    PruneChannels(ratios=(("Conv_3", 0.5),)).apply(model, Context())
    assert _sizes(model) == {"Conv_1": 10, "Conv_3": 6}


def test_widths_are_rounded_up_to_the_alignment_and_never_beyond_the_group():
    model = _wide()
    PruneChannels(ratio=0.3, align=4).apply(model, Context())
    assert _sizes(model) == {"Conv_1": 8, "Conv_3": 12}


def test_kept_channels_never_fall_below_one():
    group = channel_groups(_wide()).group("Conv_1")
    assert kept_channels(group, 0.999) == 1
    assert kept_channels(group, 0.0) == 10
    assert kept_channels(group, 0.5, align=8) == 8


def _residual():
    net = Net(3)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 8))
    y = net.conv(net.relu(net.conv(x, 8, 6)), 6, 8)
    return net.model((net.head(net.op("Add", y, x), 8),))


def test_a_ratio_of_one_removes_a_branch():
    model = _residual()
    assert kept_channels(channel_groups(model).group("Conv_3"), 1.0, align=4) == 0
    change = PruneChannels(ratios=(("Conv_3", 1.0),)).apply(model, Context())
    assert change.changed
    assert sum(n.op == "Conv" for n in model.nodes()) == 1
    assert_valid(model)


@pytest.mark.parametrize(
    ("group", "said"), [("Conv_1", "no shortcut leads past it; those of branches can, as Conv_3"), ("Conv_3", "steps")]
)
def test_a_ratio_of_one_is_for_branches_and_at_once(group, said):
    steps = 2 if said == "steps" else 1
    with pytest.raises(UsageError, match=said):
        PruneChannels(ratios=((group, 1.0),), steps=steps).apply(_residual(), Context())


def test_the_groups_of_a_branch_go_together():
    net = Net(3)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 8))
    y = net.relu(net.conv(net.relu(net.conv(x, 8, 6)), 6, 4))
    model = net.model((net.head(net.op("Add", net.conv(y, 4, 8), x), 8),))
    with pytest.raises(UsageError, match="goes only with all its groups: Conv_3, Conv_5"):
        PruneChannels(ratios=(("Conv_3", 1.0),)).apply(model, Context())


def test_what_a_branch_gave_on_average_is_kept():
    model = _residual()
    inputs = samples(model)
    (before,) = run(model, inputs)
    errors = []
    for reconstruct in (True, False):
        pruned = model.clone()
        PruneChannels(ratios=(("Conv_3", 1.0),), reconstruct=reconstruct).apply(pruned, context(model))
        errors.append(np.abs(run(pruned, inputs)[0] - before).sum())
    assert errors[0] < 0.8 * errors[1]


def test_the_least_important_channels_go():
    coupling = channel_groups(_wide())
    importance = {"Conv_1": np.arange(10.0)[::-1], "Conv_3": np.ones(12)}
    removed = choose(coupling, importance, {"Conv_1": 0.2})
    assert {k: v.tolist() for k, v in removed.items()} == {"Conv_1": [8, 9]}


def test_the_pruned_net_equals_the_masked_one():
    model = build("residual", 4)
    coupling = channel_groups(model)
    pruned = model.clone()
    PruneChannels(ratio=0.5).apply(pruned, Context())
    removed = choose(coupling, scores(model, coupling, "magnitude", Context()), dict.fromkeys(_sizes(model), 0.5))
    inputs = feeds(model)
    for got, wanted in zip(run(pruned, inputs), run(mask(model, coupling, removed), inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_a_share_of_macs_is_met_with_one_channel_more_it_would_not_be(share):
    model = _wide()
    coupling = channel_groups(model)
    rng = np.random.default_rng(0)
    importance = {g.name: rng.uniform(size=g.size) for g in coupling.free()}
    removed = choose_by_macs(ScalableKernels(model, channel_counts(coupling)), coupling, importance, share)
    full = model_cost(model).macs
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    assert model_cost(pruned).macs <= share * full
    last = max(removed, key=lambda n: importance[n][removed[n]].max())
    fewer = {**removed, last: np.delete(removed[last], importance[last][removed[last]].argmax())}
    pruned = model.clone()
    remove_channels(pruned, coupling, fewer)
    assert model_cost(pruned).macs > share * full


def test_a_share_of_macs_out_of_reach_is_infeasible_and_says_what_is():
    with pytest.raises(Infeasible, match="allow 0.0"):
        PruneChannels(macs=0.001).apply(_wide(), Context())


def test_a_model_without_free_channels_is_infeasible_with_the_reason():
    net = Net(0)
    model = net.model((net.conv(net.input("N", 3, 4, 4), 3, 4),))
    with pytest.raises(Infeasible, match="keeps its shape"):
        PruneChannels(ratio=0.5).apply(model, Context())


def test_a_ratio_of_zero_changes_nothing():
    model = _wide()
    before = model.to_proto().SerializeToString()
    assert not PruneChannels(ratio=0.0).apply(model, Context()).changed
    assert model.to_proto().SerializeToString() == before


def test_the_space_has_one_ratio_for_each_free_group():
    space = PruneChannels().space(_wide(), Context(keep=("Conv_3",)))
    assert space.names == ("ratio:Conv_1",)
    assert (space.parameters[0].low, space.parameters[0].high) == (0.0, 0.9)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ratio": 1.0}, r"ratio is 1.0; it must be in \[0, 1\)"),
        ({"ratios": (("a", -0.1),)}, "the ratio of a is -0.1"),
        ({"macs": 0.0}, r"macs is 0.0; it must be in \(0, 1\]"),
        ({"macs": 0.5, "ratio": 0.5}, "either macs or ratios"),
        ({"ratio": 0.5, "criterion": "luck"}, "criterion is luck"),
        ({"ratio": 0.5, "align": 0}, "align is 0"),
    ],
)
def test_fields_out_of_range_are_refused_at_once(fields, words):
    with pytest.raises(UsageError, match=words):
        PruneChannels(**fields)


def test_without_any_share_to_remove_the_error_names_the_fields():
    with pytest.raises(UsageError, match="one of the fields ratio, macs and ratios"):
        PruneChannels().apply(_wide(), Context())


def test_an_unknown_group_is_refused_with_close_names():
    with pytest.raises(UsageError, match="no group is called Conv_2; there are .*Conv_"):
        PruneChannels(ratios=(("Conv_2", 0.5),)).apply(_wide(), Context())


def test_a_pinned_group_is_refused_with_its_reason():
    with pytest.raises(UsageError, match="group Gemm_7 must stay: graph output"):
        PruneChannels(ratios=(("Gemm_7", 0.5),)).apply(_wide(), Context())
