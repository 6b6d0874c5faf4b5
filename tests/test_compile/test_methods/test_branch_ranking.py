"""The branches that matter least come first, half of them at most, and what is left costs what the estimate says."""

import math

import numpy as np
import pytest

from pfir.backends import open_backend
from pfir.compile.deadline import Deadline
from pfir.compile.methods.branch_ranking import BRANCHES, SHARE
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.simplification.simplify import Simplify
from pfir.target import parse_target
from tests.support.jobs import CLASSES, write_data, write_model
from tests.support.net import Net
from tests.test_compile.test_selection.search_context import channels, search_context

STRENGTHS = (1.0, 0.01, 2.0, 0.1)


def net_of_branches(kernel=3):
    """A stem, four residual blocks whose branches are scaled by `STRENGTHS`, and a classifier."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 16, 16), 3, 16))
    for strength in STRENGTHS:
        inner = net.relu(_convolution(net, x, 0.1, kernel))
        x = net.relu(net.op("Add", _convolution(net, inner, 0.1 * strength, kernel), x))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model((net.op("MatMul", x, net.const(0.1 * net.rng.standard_normal((16, CLASSES)), np.float32)),))


def _convolution(net, x, scale, kernel):
    weight = net.const(scale * net.rng.standard_normal((16, 16, kernel, kernel)), np.float32)
    return net.op("Conv", x, weight, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("depth")
    model = net_of_branches()
    return search_context(write_model(folder, model), data=str(write_data(folder, model)))


def test_the_weakest_branches_are_the_first_to_go(found):
    ranked = channels(found).branches
    order = [channels(found).coupling.branches.index(b) for b in ranked]
    assert len(ranked) == math.ceil(SHARE * len(STRENGTHS))
    assert order == [1, 3]


def test_the_order_is_the_same_each_time(found):
    assert channels(found).ranked(found.score.data).branches == channels(found).branches


def test_no_branch_is_ranked_once_the_time_is_over(found):
    assert channels(found).ranked(found.score.data, Deadline(0.0)).branches == ()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_candidate_without_branches_costs_its_price(found, count):
    parameters = found.pricing.space().defaults() | {BRANCHES: float(count)}
    removed = found.candidates.choices(parameters)
    model = found.candidates.build(removed)
    Simplify().apply(model, Context())
    kernels = open_backend("tvm").kernels(fix_sizes(model, 1), parse_target("arm"))
    real = found.pricing.device.estimate(kernels).seconds
    # What is left of a branch, its bias and its activation, is not priced in the kernel that it joins.
    assert real == pytest.approx(found.pricing.latency_s(parameters), rel=0.02 if count else 1e-9)
    assert sum(n.op == "Conv" for n in model.nodes()) == 1 + 2 * (len(STRENGTHS) - count)


def test_the_price_of_all_that_may_go_is_the_least(found):
    prices, method = found.pricing, channels(found)
    assert prices.cheapest()[BRANCHES] == len(method.branches)
    assert all(method.kept(prices.cheapest())[g] == 0 for b in method.branches for g in b.groups)
    assert prices.snap(prices.cheapest()) == prices.snap(prices.snap(prices.cheapest()))
