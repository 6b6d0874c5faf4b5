"""A branch that goes whole leaves what the net with its channels masked gives; what cannot go is no branch."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups, remove_channels
from tests.support.masking import mask, removal
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import FAMILIES, build

TOLERANCE = {"float16": 3e-2, "float32": 2e-4, "float64": 1e-9}
BRANCHED = [family for family in FAMILIES if channel_groups(build(family, 1)).branches]


def whole(coupling, *branches):
    return {name: np.arange(coupling.group(name).size) for b in branches for name in b.groups}


def block(net, x, width, bias=True):
    return net.op("Add", net.conv(net.relu(net.conv(x, width, width)), width, width, bias=bias), x)


def residual(blocks=2, bias=True, **request):
    net = Net(5)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 6))
    for _ in range(blocks):
        x = net.relu(block(net, x, 6, bias))
    model = net.model((net.head(x, 6),))
    return model, channel_groups(model, **request)


def test_several_structures_have_branches():
    assert {"residual", "attention"} <= set(BRANCHED)


@pytest.mark.parametrize("family", BRANCHED)
@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_branch_the_net_equals_the_one_with_its_channels_masked(family, seed):
    model = build(family, seed)
    coupling = channel_groups(model)
    inputs = feeds(model, seed)
    tolerance = TOLERANCE.get(np.dtype(model.graph.inputs[0].dtype).name, TOLERANCE["float32"])
    for branch in coupling.branches:
        removed = removal(coupling, seed) | whole(coupling, branch)
        pruned = model.clone()
        remove_channels(pruned, coupling, removed)
        assert_valid(pruned)
        assert branch.name not in {n.name for n in pruned.nodes()}
        for got, wanted in zip(run(pruned, inputs), run(mask(model, coupling, removed), inputs), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bias", [True, False])
def test_all_branches_may_go_and_without_biases_nothing_is_left_of_them(bias):
    model, coupling = residual(bias=bias)
    inputs = feeds(model, 3)
    removed = whole(coupling, *coupling.branches)
    wanted = run(mask(model, coupling, removed), inputs)
    remove_channels(model, coupling, removed)
    assert sum(n.op == "Conv" for n in model.nodes()) == 1
    assert any(n.op == "Add" for n in model.nodes()) == bias
    np.testing.assert_allclose(run(model, inputs)[0], wanted[0], rtol=1e-4, atol=1e-4)


def test_a_branch_goes_only_with_all_of_its_groups():
    net = Net(5)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 6))
    y = net.relu(net.conv(net.relu(net.conv(x, 6, 4, k=1)), 4, 4))
    model = net.model((net.head(net.op("Add", net.conv(y, 4, 6, k=1), x), 6),))
    coupling = channel_groups(model)
    (branch,) = coupling.branches
    assert len(branch.groups) == 2
    with pytest.raises(UsageError, match="at least one must stay"):
        remove_channels(model, coupling, {branch.groups[0]: np.arange(4)})
    remove_channels(model, coupling, whole(coupling, branch))
    assert sum(n.op == "Conv" for n in model.nodes()) == 1


@pytest.mark.parametrize("request_", [{"keep": ("Conv_3",)}, {"keep": ("Conv_5",)}, {"only": ("Conv_3",)}])
def test_what_must_stay_is_in_no_branch(request_):
    everything = residual()[1].branches
    assert len(residual(**request_)[1].branches) == (0 if "only" in request_ else len(everything) - 1)


def test_a_shortcut_of_another_shape_is_no_way_past_a_branch():
    net = Net(5)
    x = net.input("N", 6, 8, 8)
    gate = net.op("GlobalAveragePool", x)
    y = net.conv(net.relu(net.conv(x, 6, 6)), 6, 6)
    model = net.model((net.head(net.op("Add", y, gate), 6),))
    assert not channel_groups(model).branches


def test_a_branch_that_something_else_reads_stays():
    net = Net(5)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 6))
    y = net.conv(net.relu(net.conv(x, 6, 6)), 6, 6)
    model = net.model((net.head(net.op("Add", y, x), 6), net.head(y, 6)))
    assert not channel_groups(model).branches
