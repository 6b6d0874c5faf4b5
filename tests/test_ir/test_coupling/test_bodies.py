"""Channels in bodies: followed where that is safe, else pinned with the node and the reason, and pruned around."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.ir.constants.dead_channels import find_dead
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.model import Model
from pfir.ir.weights import every_constant
from pfir.passes.base import Context
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from tests.support.masking import mask, removal
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import build


def _checked(model, tolerance=1e-4):
    coupling = channel_groups(model)
    removed = removal(coupling, 1, 0.9)
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    assert_valid(pruned)
    for got, wanted in zip(run(pruned, feeds(model)), run(mask(model, coupling, removed), feeds(model)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance / 10)
    return coupling


def _pins(coupling, name: str) -> str:
    return "; ".join(f"{pin.node}: {pin.reason}" for pin in coupling.group(name).pins)


def _behind(step) -> tuple[Net, str]:
    """Two layers, what a step makes of the second, and a head."""
    net = Net(0)
    x = net.relu(net.linear(net.relu(net.linear(net.input(2, 4), 4, 6)), 6, 5))
    return net.model((net.linear(step(net, x), 5, 2),))


def _repeat(net: Net, step, *states: str, trips: int = 2) -> str:
    body = net.body(step, np.int64, bool, *[np.float32] * len(states))
    results = net.op("Loop", net.const(trips, np.int64), "", *states, body=body, outs=len(states))
    return results[0] if len(states) > 1 else results


def _branch(net: Net, then, other) -> str:
    return net.op("If", net.const(True, np.bool_), then_branch=net.body(then), else_branch=net.body(other))


def test_layers_in_a_body_are_named_in_their_group():
    coupling = channel_groups(build("loop_states", 1))
    assert [(g.producers, g.consumers) for g in coupling.free()] == [
        (("MatMul_1", "MatMul_6"), ("MatMul_3", "MatMul_14")),
        (("MatMul_3",), ("MatMul_6",)),
    ]


def test_slices_say_which_weights_lie_in_bodies():
    group = channel_groups(build("loop_states", 1)).group("MatMul_1")
    parts = (*group.producing, *group.consuming)
    assert {p.node for p in parts if not p.inner} == {"MatMul_1", "Add_2", "MatMul_14"}
    assert {p.node for p in parts if p.inner} == {"MatMul_3", "MatMul_6", "Add_7"}


def test_nodes_in_a_body_can_be_kept():
    model = build("loop_states", 1)
    assert [g.name for g in channel_groups(model, keep=("MatMul_3",)).free()] == ["MatMul_1"]
    with pytest.raises(UsageError, match="no node called MatMul_33; did you mean MatMul_3"):
        channel_groups(model, keep=("MatMul_33",))


def test_sizes_in_a_body_follow():
    model = build("scanned_cell", 1)
    coupling = channel_groups(model)
    remove_channels(model, coupling, {"MatMul_4": np.array([1])})
    body = next(n for n in model.nodes() if n.op == "Scan").attrs["body"]
    reshape = next(n for n in body.nodes if n.op == "Reshape")
    assert reshape.inputs[1].values.tolist() == [-1, 1, coupling.group("MatMul_4").size - 1]
    assert run(model, feeds(model))[0].shape == (2, 4, 1, 3)


def test_a_state_that_turns_its_channels_around_couples_them():
    def turned(net, x):
        order = net.const([4, 3, 2, 1, 0], np.int64)
        return _repeat(net, lambda _, go, state: (net.again(go), net.op("Gather", state, order, axis=1)), x)

    free = [g for g in _checked(_behind(turned)).free() if "MatMul_4" in g.producers]
    assert [g.members[0].positions.tolist() for g in free] == [[[0, 4], [1, 3]]]


@pytest.mark.parametrize("kind", ["If", "Loop"])
def test_channels_that_grow_in_a_body_stay(kind):
    def grown(net, x):
        def doubled(*names):
            return (net.op("Concat", names[-1] if names else x, x, axis=1),)

        if kind == "If":
            y = _branch(net, doubled, lambda: (net.relu(x),))
        else:
            y = _repeat(net, lambda _, go, state: (net.again(go), *doubled(state)), x)
        return net.op("Slice", y, net.ints(0), net.ints(5), net.ints(1))

    coupling = _checked(_behind(grown))
    assert [g.name for g in coupling.free()] == ["MatMul_1"]
    words = "branches do not agree" if kind == "If" else "changes from run to run"
    assert words in _pins(coupling, "MatMul_4")


def test_changes_of_one_state_reach_the_others_run_by_run():
    """Each state takes the place of the one before it, the first one grows: in the end all have."""

    def step(net):
        return lambda _, go, a, b, c, d: (net.again(go), net.op("Concat", a, a, axis=1), a, b, c)

    def shifted(net, x):
        body = net.body(step(net), np.int64, bool, *[np.float32] * 4)
        *_, last = net.op("Loop", net.const(3, np.int64), "", x, x, x, x, body=body, outs=4)
        return net.op("Slice", last, net.ints(0), net.ints(5), net.ints(1))

    coupling = _checked(_behind(shifted))
    assert [g.name for g in coupling.free()] == ["MatMul_1"]


def test_names_that_two_bodies_share_are_pinned_with_all_that_they_touch():
    def twins(net, x):
        then, other = (net.body(lambda kind=kind: (net.op(kind, x),)) for kind in ("Relu", "Neg"))
        other.node[0].output[0] = other.output[0].name = then.output[0].name
        return net.op("If", net.const(True, np.bool_), then_branch=then, else_branch=other)

    coupling = _checked(_behind(twins))
    assert [g.name for g in coupling.free()] == ["MatMul_1"]
    assert "share the name relu" in _pins(coupling, "MatMul_4")


def test_a_body_that_is_not_followed_holds_what_it_takes_from_outside():
    """A SequenceMap, whose body reads a layer's output and a weight that a node outside reads as well."""
    net = Net(0, opset=17)
    x = net.relu(net.linear(net.relu(net.linear(net.input(2, 4), 4, 6)), 6, 5))
    weight = net.w(5, 3)
    sequence = net.op("SequenceConstruct", net.input(2, 5))
    body = net.body(lambda given: (net.op("MatMul", net.op("Add", given, x), weight),), np.float32)
    y = net.op("SequenceAt", net.op("SequenceMap", sequence, body=body), net.const(0, np.int64))
    coupling = _checked(net.model((net.op("Add", net.op("MatMul", x, weight), y),)))
    assert [g.name for g in coupling.free()] == ["MatMul_1"]
    assert "a body uses it, and SequenceMap is not followed" in _pins(coupling, "MatMul_4")


def test_a_scan_of_batches_is_pinned():
    net = Net(0, opset=8)
    x = net.linear(net.input(2, 3, 4), 4, 5)
    body = net.body(lambda total, given: (net.op("Add", total, given), net.op("Neg", given)), np.float32, np.float32)
    start = net.const(np.zeros((2, 5)), np.float32)
    _, y = net.op("Scan", "", start, x, body=body, num_scan_inputs=1, outs=2)
    coupling = channel_groups(net.model((net.linear(y, 5, 2),)))
    assert "before opset 9 it scans batches" in _pins(coupling, "MatMul_1")


@pytest.mark.parametrize("family", ["branches_with_layers", "loop_states", "growing_state", "scanned_cell"])
def test_dead_channels_in_bodies_are_found(family):
    """All that makes the first two channels of every group is zero, in bodies too."""
    model = build(family, 3)
    coupling = channel_groups(model)
    constants = every_constant(model)
    for group in coupling.free():
        for member in (m for m in group.members if m.constant):
            array = constants[member.tensor].values.copy()
            np.moveaxis(array, member.axis, 0)[member.positions[: group.size // 2].ravel()] = 0
            constants[member.tensor].values = array
    before = run(model, feeds(model))
    dead = find_dead(model, coupling).removed
    assert all(dead[g.name].tolist() == list(range(g.size // 2)) for g in coupling.free())
    assert RemoveDeadChannels().apply(model, Context()).changed
    assert_valid(model)
    for got, wanted in zip(run(model, feeds(model)), before, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_a_body_of_a_model_whose_weights_are_inputs_needs_no_weights_of_its_own():
    """Before IR version 4 a body has no initializers; sizes that a removal writes there belong to the main graph."""
    net = Net(0)
    x = net.relu(net.linear(net.relu(net.linear(net.input(2, 4), 4, 6)), 6, 5))
    shape = net.ints(1, 2, 5)
    y = _branch(net, lambda: (net.op("Reshape", x, shape),), lambda: (net.op("Unsqueeze", x, net.ints(0)),))
    proto = net.model((net.linear(y, 5, 2),)).to_proto()
    for body in (a.g for node in proto.graph.node for a in node.attribute if a.HasField("g")):
        proto.graph.initializer.extend(body.initializer)
        del body.initializer[:]
    proto.ir_version = 3
    values = (helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in proto.graph.initializer)
    proto.graph.input.extend(values)
    coupling = _checked(Model.from_proto(proto))
    assert "MatMul_4" in [g.name for g in coupling.free()]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_bodies_of_other_precisions_are_followed(dtype):
    net = Net(1, dtype=dtype)
    x = net.linear(net.input(2, 4), 4, 5)
    body = net.body(lambda _, go, state: (net.again(go), net.linear(net.relu(state), 5, 5)), np.int64, bool, dtype)
    y = net.op("Loop", net.const(2, np.int64), "", x, body=body)
    assert [g.name for g in _checked(net.model((net.linear(y, 5, 2),)), 2e-2).free()] == ["MatMul_1"]
