"""Dead channels where values are states of recurrent layers and bodies: found where they are dead at every step."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.ir.constants.dead_channels import find_dead
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.weights import every_constant
from pfir.passes.base import Context
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import build

RECURRENT = ["recurrent", "long_short_term", "both_directions", "two_layers"]
BODIES = ["branches", "branches_with_layers", "loop_states", "growing_state", "scanned_cell"]


def still(model, count=2):
    """Zero all that makes the first channels of every group; the channels by group name."""
    coupling, found = channel_groups(model), every_constant(model)
    for group in coupling.free():
        read = {(p.tensor, p.axis) for p in group.consuming}
        for member in group.members:
            if member.constant and (member.tensor, member.axis) not in read:
                array = found[member.tensor].values.copy()
                np.moveaxis(array, member.axis, 0)[member.positions[: min(count, group.size - 1)].ravel()] = 0
                found[member.tensor].values = array
    return {g.name: list(range(min(count, g.size - 1))) for g in coupling.free()}


def removed(model):
    """What the pass finds, after a check that it leaves every output as it was."""
    dead = {name: c.tolist() for name, c in find_dead(model, channel_groups(model)).removed.items()}
    before, again = run(model, feeds(model)), model.clone()
    assert RemoveDeadChannels().apply(again, Context()).changed == bool(dead)
    assert_valid(again)
    for got, wanted in zip(run(again, feeds(model)), before, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert not RemoveDeadChannels().apply(again, Context()).changed
    return dead


@pytest.mark.parametrize("family", [*RECURRENT, *BODIES])
def test_channels_that_nothing_makes_are_dead_through_all_steps_and_branches(family):
    for seed in (1, 2):
        model = build(family, seed)
        assert not removed(model)
        killed = still(model)
        found = removed(model)
        assert {name: found.get(name) for name in killed} == killed


def _layer(kind, hidden=4, **attributes):
    """A recurrent layer without bias on 3 features whose first two units nothing makes, and a head."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    net = Net(0)
    w, r = (net.rng.standard_normal((1, gates * hidden, n)) for n in (3, hidden))
    for rows in (w, r):
        rows.reshape(gates, hidden, -1)[:, :2] = 0
    states = attributes.pop("states", ())
    inputs = [net.const(v, np.float32) if isinstance(v, np.ndarray) else v for v in (w, r, *states)]
    y = net.op(kind, net.input(3, 2, 3), *inputs, outs=2, hidden_size=hidden, **attributes)[0]
    return net.model((net.linear(net.op("Squeeze", y, net.ints(1)), hidden, 3),))


def _first(value):
    """[1, 2, 4]: a state of which the first two units start from this value."""
    return np.concatenate([np.full((1, 2, 2), value), np.ones((1, 2, 2))], 2)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_units_that_start_from_zero_and_that_nothing_moves_are_dead(kind):
    states = ["", "", _first(0.0), *([_first(0.0)] if kind == "LSTM" else [])]
    for model in (_layer(kind), _layer(kind, states=states)):
        assert list(removed(model).values()) == [[0, 1]]


ALIVE = {
    "a function that makes something of zero": lambda: _layer("RNN", activations=["Sigmoid"]),
    "a state that decays": lambda: _layer("LSTM", states=["", "", _first(0.0), _first(0.5)]),
    "a state that others find at first": lambda: _layer("LSTM", states=["", "", _first(0.5), _first(0.0)]),
    "an average with the state before": lambda: _layer("GRU", states=["", "", _first(0.5)]),
    "a bias": lambda: _layer("GRU", states=[np.ones((1, 24))]),
}


@pytest.mark.parametrize("case", ALIVE)
def test_units_that_something_moves_stay(case):
    assert not removed(ALIVE[case]())


def test_a_unit_that_reads_one_that_moves_is_not_dead_and_those_that_read_each_other_are():
    model = _layer("RNN")
    turn = next(n for n in model.nodes() if n.op == "RNN").inputs[2].name
    array = model.initializers()[turn].values.copy()
    array[0, 0, 1] = array[0, 1, 0] = 1
    model.set_arrays({turn: array})
    assert list(removed(model).values()) == [[0, 1]]
    array = array.copy()
    array[0, 1, 3] = 1
    model.set_arrays({turn: array})
    assert not removed(model)


def test_units_that_read_only_dead_channels_are_dead():
    net = Net(0)
    x = net.relu(net.op("MatMul", net.input(3, 2, 4), net.w(4, 5)))
    y, _ = net.op("GRU", x, net.w(1, 12, 5), net.w(1, 12, 4), outs=2, hidden_size=4)
    model = net.model((net.linear(net.op("Squeeze", y, net.ints(1)), 4, 3),))
    found = model.initializers()
    arrays = {n: found[n].values.copy() for n in ("c0", "c1", "c2")}
    arrays["c0"][:, :2] = 0
    arrays["c1"][:, 8:10, 2:] = 0
    arrays["c2"][:, 8:10] = 0
    model.set_arrays(arrays)
    assert removed(model) == {"MatMul_1": [0, 1], "GRU_3": [0, 1]}


def _constant(kind, bias, start=None, read=True, zero_gates=True, **attributes):
    """A recurrent layer on 3 features whose first two units get these biases (one a gate) and nothing else, and a head.

    Args:
        start: What these units start from, hidden state and cell.
        read: Whether other units read them.
        zero_gates: Whether gates other than the last read nothing, either.
    """
    gates, hidden, net = len(bias), 4, Net(0)
    w, r = (net.rng.standard_normal((1, gates * hidden, n)) for n in (3, hidden))
    for rows in (w, r):
        rows.reshape(gates, hidden, -1)[0 if zero_gates else -1 :, :2] = 0
    r[:, :, :2] *= read
    b = net.rng.standard_normal((1, 2, gates, hidden))
    b[0, :, :, :2] = np.array([bias, np.zeros(gates)])[:, :, None]
    given = [net.const(v, np.float32) for v in (w, r, b.reshape(1, -1))]
    lengths = net.const([3, 2], np.int32) if attributes.pop("lengths", False) else ""
    given += [lengths, *(net.const(_first(v), np.float32) for v in start or ())]
    y = net.op(kind, net.input(3, 2, 3), *given, outs=2, hidden_size=hidden, **attributes)[0]
    return net.model((net.linear(net.op("Squeeze", y, net.ints(1)), hidden, 3),))


CONSTANT = {
    "a function of a bias that nobody else reads": lambda: _constant("RNN", [0.5], read=False),
    "a state that is where its bias keeps it": lambda: _constant("RNN", [0.5], [0.5], activations=["Relu"]),
    "an average of what it was and the same": lambda: _constant(
        "GRU", [0.3, 0.2, 0.5], [0.5], activations=["Sigmoid", "Relu"], zero_gates=False, linear_before_reset=1
    ),
    "an average that only gates read": lambda: _constant(
        "GRU", [0.3, 0.2, 0.5], [0.5], activations=["Sigmoid", "Relu"], read=False
    ),
    "a cell that gains what it forgets": lambda: _constant(
        "LSTM", [0, 0, 0, 1], [0.5, 1], activations=["Sigmoid", "Relu", "Relu"]
    ),
}
MOVING = {
    "a state that starts from elsewhere": lambda: _constant("RNN", [0.5]),
    "an average that comes closer": lambda: _constant("GRU", [0.3, 0.2, 0.5], read=False),
    "a state that is reset before it is read": lambda: _constant(
        "GRU", [0.3, 0.2, 0.5], [0.5], activations=["Sigmoid", "Relu"]
    ),
    "a cell that fills": lambda: _constant("LSTM", [0, 0, 0, 1], read=False),
    "coupled gates": lambda: _constant(
        "LSTM", [0, 0, 0, 1], [0.5, 1], activations=["Sigmoid", "Relu", "Relu"], input_forget=1
    ),
    "a bound": lambda: _constant("RNN", [0.5], read=False, clip=0.25),
    "zeros behind the end": lambda: _constant("RNN", [0.5], read=False, lengths=True),
    "a function with parameters": lambda: _constant("RNN", [0.5], read=False, activations=["Elu"]),
}


@pytest.mark.parametrize("case", CONSTANT)
def test_units_that_have_one_value_at_every_step_move_into_biases(case):
    assert list(removed(CONSTANT[case]()).values()) == [[0, 1]]


@pytest.mark.parametrize("case", MOVING)
def test_units_whose_value_depends_on_the_step_stay(case):
    assert not removed(MOVING[case]())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_constant_channels_that_a_recurrent_layer_reads_move_into_its_bias(kind, bias):
    """In both directions, while hidden units go, too, as nothing reads them."""
    net, rows = Net(0), {"RNN": 1, "GRU": 3, "LSTM": 4}[kind] * 4
    kept = net.const([0, 0, 1, 1, 1], np.float32)
    x = net.op("Sigmoid", net.op("Mul", net.linear(net.input(3, 2, 4), 4, 5), kept))
    weights = net.w(2, rows, 5), net.w(2, rows, 4), *([net.w(2, 2 * rows)] if bias else [])
    y, _ = net.op(kind, x, *weights, outs=2, hidden_size=4, direction="bidirectional")
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(3, 2, 8))
    model = net.model((net.linear(y, 8, 3),))
    assert list(removed(model).values()) == [[0, 1]]
    turn = next(n for n in model.nodes() if n.op == kind).inputs[2]
    last = [n for n in model.nodes() if n.op == "MatMul"][-1].inputs[1]
    unread = np.array([0, 1, 1, 1], np.float32)
    model.set_arrays({turn.name: turn.values * unread, last.name: last.values * np.tile(unread, 2)[:, None]})
    assert list(removed(model).values()) == [[0, 1], [0]]


def _repeated(start, step):
    """A state [2, 5] that starts from a constant, and a head on it."""
    net = Net(0)
    x = net.linear(net.input(2, 4), 4, 5)
    body = net.body(lambda _, go, state: (net.again(go), step(net, state, x)), np.int64, bool, np.float32)
    y = net.op("Loop", net.const(2, np.int64), "", net.const(start, np.float32), body=body)
    return net.model((net.linear(y, 5, 2),))


HALVES = [[0.0, 0.5, 0.5, 1.0, 1.0]] * 2


def test_a_state_that_every_run_leaves_as_it_is_moves_into_the_bias_behind_the_loop():
    first = [[1.0, 1.0, 1.0, 0.0, 0.0]]

    def step(net, state, x):
        kept, rest = net.const(first, np.float32), net.const(1 - np.array(first), np.float32)
        return net.op("Add", net.op("Mul", state, kept), net.op("Mul", x, rest))

    assert list(removed(_repeated(HALVES, step)).values()) == [[0, 1, 2]]


def test_a_state_that_changes_from_run_to_run_stays():
    def step(net, state, x):
        return net.op("Sum", state, net.const(np.ones((1, 5)), np.float32), net.op("Mul", x, net.const(0, np.float32)))

    assert not removed(_repeated(HALVES, step))


def test_states_that_hand_their_change_on_one_a_run_are_no_constants():
    """The first state changes, each other one becomes what the one before it was: in the end all change."""
    net, count = Net(0), 12

    def step(_, go, first, *states):
        return net.again(go), net.op("Add", first, net.const([1.0] * 5, np.float32)), first, *states[:-1]

    body = net.body(step, np.int64, bool, *[np.float32] * count)
    start = [net.const(np.ones((2, 5)), np.float32) for _ in range(count)]
    *_, last = net.op("Loop", net.const(20, np.int64), "", *start, body=body, outs=count)
    model = net.model((net.op("Add", net.linear(last, 5, 2), net.linear(net.input(2, 4), 4, 2)),))
    assert channel_groups(model).free() and not removed(model)


def test_a_constant_moves_into_a_bias_inside_a_body():
    """A branch reads a constant channel with a layer of its own, once with and once without a bias."""
    net = Net(0)
    x = net.op("Sigmoid", net.linear(net.input(2, 4), 4, 5))
    bodies = [net.body(lambda: (net.dense(x, 5, 3),)), net.body(lambda: (net.op("MatMul", x, net.w(5, 3)),))]
    model = net.model((net.op("If", net.input(dtype=bool), then_branch=bodies[0], else_branch=bodies[1]),))
    arrays = {"c0": model.initializers()["c0"].values.copy()}
    arrays["c0"][:, :2] = 0
    model.set_arrays(arrays)
    for taken in (True, False):
        given = {**feeds(model), "in1": np.array(taken)}
        before, again = run(model, given), model.clone()
        assert RemoveDeadChannels().apply(again, Context()).notes == ("2 dead channels removed",)
        assert_valid(again)
        np.testing.assert_allclose(run(again, given)[0], before[0], rtol=1e-4, atol=1e-5)


def test_what_only_one_branch_leaves_constant_stays():
    net = Net(0)
    x = net.linear(net.input(2, 4), 4, 5)
    scaled = net.body(lambda: (net.op("Mul", x, net.const([[0, 0, 1, 1, 1]], np.float32)),))
    other = net.body(lambda: (net.relu(x),))
    y = net.op("If", net.const(True, np.bool_), then_branch=scaled, else_branch=other)
    assert not removed(net.model((net.linear(y, 5, 2),)))
