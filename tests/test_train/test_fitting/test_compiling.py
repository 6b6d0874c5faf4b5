"""Steps are compiled where that is asked for, or saves enough of what is left of a training."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from pfir.errors import TrainingError, UsageError
from pfir.train.fitting import compiling
from pfir.train.fitting.compiling import COMPILING_S, LEAST_STEPS, SAVED, TRIES, WORTH, Plan, prepare

NODES = 100
LONG = 1.01 * WORTH * COMPILING_S * NODES / SAVED
"""Seconds of a training of which enough is saved."""


class Session:
    """A session whose steps take these seconds by a clock of its own, the last of them from then on.

    Compiled ones take so many times as long.
    """

    def __init__(self, monkeypatch, *step_s, why_not=None, fails=False, compiled=0.9):
        self.compiled = compiled
        self.now, self.left, self.is_compiled, self.fails = 0.0, list(step_s), False, fails
        self.steps = 0
        self.statistics = SimpleNamespace(flat=np.zeros(3, np.float32))
        self.chosen = SimpleNamespace(why_not_compiled=lambda: why_not)
        monkeypatch.setattr(compiling.time, "monotonic", lambda: self.now)

    def step(self, feeds):
        self.now += self.left[min(self.steps, len(self.left) - 1)] * (self.compiled if self.is_compiled else 1.0)
        self.steps += 1
        self.statistics.flat += 1

    def set_statistics(self, flat):
        self.statistics.flat[:] = flat

    def compile(self, feeds):
        if self.fails:
            raise TrainingError("a step cannot be compiled (g++)")
        self.is_compiled = True

    def uncompile(self):
        self.is_compiled = False


def test_a_long_training_is_compiled_and_a_short_one_is_not(monkeypatch):
    steps = 1000
    for seconds, is_compiled in ((LONG, True), (0.9 * LONG, False)):
        session = Session(monkeypatch, seconds / steps)
        assert prepare(session, Plan(nodes=NODES, steps=steps), {}, None) == (is_compiled, None)
        assert session.is_compiled == is_compiled and not session.statistics.flat.any()


def test_a_first_step_that_takes_long_does_not_deceive(monkeypatch):
    session = Session(monkeypatch, 10.0, 10.0, 1e-3)
    assert prepare(session, Plan(nodes=NODES, steps=1000), {}, None) == (False, None)
    assert session.steps == TRIES


def test_compiled_steps_that_take_longer_are_given_up(monkeypatch):
    session = Session(monkeypatch, LONG, compiled=1.25)
    is_compiled, note = prepare(session, Plan(nodes=NODES, steps=1000), {}, None)
    assert not is_compiled and not session.is_compiled and not session.statistics.flat.any()
    assert note == "training goes on without compiled steps: they take 1.25 of the time of others"


def test_steps_are_timed_no_longer_than_needed(monkeypatch):
    session = Session(monkeypatch, 1e-3)
    assert prepare(session, Plan(nodes=NODES, steps=1000), {}, None) == (False, None)
    assert session.steps == 1


@pytest.mark.parametrize(
    ("plan", "why_not"),
    [
        (Plan(nodes=NODES, steps=LEAST_STEPS - 1), None),
        (Plan(nodes=NODES, steps=10**6, budget_s=0.9 * LONG), None),
        (Plan("never", NODES, steps=10**6), None),
        (Plan(nodes=NODES, steps=10**6, several=True), None),
        (Plan(nodes=NODES, steps=10**6), "there is no compiler"),
    ],
)
def test_where_it_cannot_be_or_pay_no_step_is_timed(monkeypatch, plan, why_not):
    session = Session(monkeypatch, 100.0, why_not=why_not)
    assert prepare(session, plan, {}, None) == (False, None)
    assert session.steps == 0


def test_a_larger_graph_takes_longer_to_compile():
    assert Plan(nodes=NODES, steps=1000).pays(LONG / 1000) and not Plan(nodes=2 * NODES, steps=1000).pays(LONG / 1000)


def test_a_budget_bounds_what_can_be_saved():
    assert Plan(nodes=NODES, steps=1000, budget_s=LONG).pays(math.inf)
    assert not Plan(nodes=NODES, steps=1000, budget_s=LONG).pays(1e-3)


def test_asked_for_always_it_is_done_for_any_training(monkeypatch):
    session = Session(monkeypatch, 1e-3)
    assert prepare(session, Plan("always", NODES, steps=1), {}, None) == (True, None) and session.steps == 0


@pytest.mark.parametrize(
    ("plan", "why_not", "said"),
    [
        (Plan("always"), "there is no compiler", "--train compile=always: there is no compiler"),
        (Plan("always", several=True), None, "--train compile=always: several processes train; give --nproc 1"),
    ],
)
def test_asked_for_always_and_impossible_is_an_error(monkeypatch, plan, why_not, said):
    with pytest.raises(UsageError, match=said):
        prepare(Session(monkeypatch, 1.0, why_not=why_not), plan, {}, None)


@pytest.mark.parametrize("before", [True, False])
def test_what_was_decided_before_is_followed(monkeypatch, before):
    session = Session(monkeypatch, 1.0 if not before else 1e-6)
    assert prepare(session, Plan(nodes=NODES, steps=10**6), {}, before) == (before, None)
    assert session.steps == 0 and session.is_compiled == before


def test_several_processes_go_on_without_compiled_steps(monkeypatch):
    session = Session(monkeypatch, 1.0)
    assert prepare(session, Plan(nodes=NODES, steps=10**6, several=True), {}, True) == (False, None)
    assert not session.is_compiled


@pytest.mark.parametrize(("before", "says"), [(None, False), (True, True)])
def test_a_failure_is_a_note_that_tells_whether_weights_change(monkeypatch, before, says):
    session = Session(monkeypatch, LONG, fails=True)
    is_compiled, note = prepare(session, Plan(nodes=NODES, steps=10**4), {}, before)
    assert not is_compiled and note.startswith("training goes on without compiled steps")
    assert ("will be others" in note) == says
