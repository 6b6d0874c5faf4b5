"""Groups are what the graph says: their sizes, members, names, pins with reasons, and what a caller may ask of them."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.ir.costs.model_cost import model_cost, weights_of
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import (
    channel_counts,
    channel_groups,
    remove_channels,
    widths,
)
from pfir.ir.coupling.components import components
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.ir.whole import sized_everywhere
from tests.support.masking import mask, removal
from tests.support.models import REAL, shared_model
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import FAMILIES, build


def _residual() -> Model:
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 6))
    y = net.conv(net.relu(net.conv(x, 6, 5)), 5, 6)
    return net.model((net.head(net.op("Add", x, y), 6),))


@pytest.mark.parametrize("name", REAL)
def test_the_pruned_real_model_equals_the_masked_one(name):
    model = Model.from_proto(onnx.load(shared_model(name)))
    coupling = channel_groups(model)
    removed = removal(coupling, 1, 0.6)
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    assert_valid(pruned)
    rng = np.random.default_rng(0)
    shapes = {t.name: [d if isinstance(d, int) else 1 for d in t.shape] for t in model.graph.inputs}
    inputs = {name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    for got, wanted in zip(run(pruned, inputs), run(mask(model, coupling, removed), inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_a_residual_stream_is_one_group_named_after_its_first_producer():
    coupling = channel_groups(_residual())
    assert [(g.name, g.size) for g in coupling.free()] == [("Conv_1", 6), ("Conv_3", 5)]
    stream = coupling.group("Conv_1")
    assert stream.producers == ("Conv_1", "Conv_5")
    assert stream.consumers == ("Conv_3", "Gemm_9")


def test_slices_name_the_numbers_that_make_and_read_a_group():
    model = _residual()
    group = channel_groups(model).group("Conv_3")
    made = [(s.node, s.tensor, s.axis, s.role, s.positions.shape) for s in group.producing]
    read = [(s.node, s.tensor, s.axis, s.role) for s in group.consuming]
    assert made == [("Conv_3", "c2", 0, "weight", (5, 1)), ("Conv_3", "c3", 0, "bias", (5, 1))]
    assert read == [("Conv_5", "c4", 1, "weight")]


def test_a_pin_says_which_node_and_why():
    coupling = channel_groups(_residual())
    pinned = [g for g in coupling.groups if g.pins]
    assert [g.name for g in pinned] == ["Gemm_9"]
    assert "graph output" in pinned[0].pins[0].reason
    assert pinned[0].pins[0].node == "Gemm_9"


def test_kept_nodes_keep_their_channels():
    coupling = channel_groups(_residual(), keep=("Conv_5",))
    assert [g.name for g in coupling.free()] == ["Conv_3"]
    assert coupling.group("Conv_1").pins[0].reason == "kept by request"


def test_only_named_nodes_lose_channels():
    coupling = channel_groups(_residual(), only=("Conv_3",))
    assert [g.name for g in coupling.free()] == ["Conv_3"]
    assert coupling.group("Conv_1").pins[0].reason == "not among the nodes asked for"


@pytest.mark.parametrize("field", ["keep", "only"])
def test_an_unknown_node_is_refused_with_close_names(field):
    with pytest.raises(UsageError, match="no node called Conv_4; did you mean .*Conv_"):
        channel_groups(_residual(), **{field: ("Conv_4",)})


@pytest.mark.parametrize(
    ("removed", "words"),
    [
        ({"nothing": [0]}, "no group is called nothing; the groups are Conv_1"),
        ({"Gemm_9": [0]}, "group Gemm_9 must stay: graph output"),
        ({"Conv_3": [5]}, "group Conv_3 has channels 0 to 4; 5..5 were given"),
        ({"Conv_3": [-1]}, "-1..-1 were given"),
        ({"Conv_1": range(6)}, "all 6 channels were to be removed; at least one must stay"),
    ],
)
def test_an_impossible_removal_is_refused(removed, words):
    model = _residual()
    with pytest.raises(UsageError, match=words):
        remove_channels(model, channel_groups(model), {n: np.array(list(c)) for n, c in removed.items()})


def test_removal_replaces_arrays_and_leaves_the_analysed_model_alone():
    model = _residual()
    coupling = channel_groups(model)
    before = model.to_proto().SerializeToString()
    clone = model.clone()
    remove_channels(clone, coupling, {"Conv_3": np.array([0, 2])})
    assert model.to_proto().SerializeToString() == before
    assert clone.initializers()["c2"].values.shape == (3, 6, 3, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_costs_from_channel_counts_are_those_of_the_pruned_model(family):
    model = build(family, 3)
    model = fix_sizes(model, input_shapes={name: x.shape for name, x in feeds(model).items()})
    coupling = channel_groups(model)
    removed = removal(coupling, 3)
    kept = {g.name: g.size - len(removed[g.name]) for g in coupling.free()}
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    cost, scalable = model_cost(pruned), ScalableKernels(model, channel_counts(coupling))
    per_use = sum(math.prod(weight.shape) for weight in weights_of(sized_everywhere(pruned).graph))
    assert scalable.macs_at(kept) == cost.macs
    assert scalable.parameters_at(kept) == per_use >= cost.parameters, "a file holds once what layers share"
    counts = channel_counts(coupling)
    assert all(counts[site].width(kept) == width for site, width in widths(coupling, removed).items())


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_an_axis_belong_to_one_group_at_most(family):
    coupling = channel_groups(build(family, 1))
    taken: dict[tuple[str, int], list[int]] = {}
    for group in coupling.groups:
        for member in group.members:
            assert member.positions.shape[0] == group.size
            taken.setdefault((member.tensor, member.axis), []).extend(member.positions.ravel().tolist())
    assert all(len(set(found)) == len(found) for found in taken.values())
    assert len({g.name for g in coupling.groups}) == len(coupling.groups)


def test_weights_that_are_listed_as_inputs_too_are_weights():
    """As files below IR version 4 must list them, and older exporters still do."""
    proto = _residual().to_proto()
    weight = next(i for i in proto.graph.initializer if i.name == "c2")
    proto.graph.input.append(helper.make_tensor_value_info("c2", weight.data_type, weight.dims))
    model = Model.from_proto(proto)
    coupling = channel_groups(model)
    remove_channels(model, coupling, {"Conv_3": np.array([0])})
    assert_valid(model)
    assert run(model, feeds(model))[0].shape == (2, 3)


def test_components_are_the_smallest_connected_labels():
    a, b = np.array([5, 3, 7, 0]), np.array([3, 1, 6, 2])
    assert components(8, a, b).tolist() == [0, 1, 0, 1, 4, 1, 6, 6]


def test_components_agree_with_a_walk_over_random_graphs():
    rng = np.random.default_rng(0)
    for _ in range(50):
        count = int(rng.integers(1, 40))
        a, b = rng.integers(0, count, (2, int(rng.integers(0, 40))))
        expected = np.arange(count)
        for _ in range(count):
            for i, j in zip(a, b, strict=True):
                expected[[i, j]] = min(expected[i], expected[j])
        assert components(count, a, b).tolist() == expected.tolist()
