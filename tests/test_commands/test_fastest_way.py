"""The fastest of several libraries is one only if it is by more than noise, and computes the same."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest

from pfir.artifact import Artifact, TensorSpec
from pfir.commands.fastest_way import DUEL, fastest
from pfir.devices.base import Device
from pfir.errors import VerifyError
from pfir.measurement import MEASURED, Measurement
from pfir.target import parse_target


def _library(name: str) -> Artifact:
    spec = (TensorSpec("x", "float32", (2, 3)),)
    return Artifact("tvm", parse_target("host"), {"k": name.encode()}, "k", spec, (TensorSpec("y", "float32", (2, 3)),))


class Fake(Device):
    """Times by name, each taken in turn; a library called `wrong` adds one."""

    name = "fake"

    def __init__(self, **times) -> None:
        self.times = {name: cycle(np.atleast_1d(seconds)) for name, seconds in times.items()}
        self.measured: list[str] = []

    def measure(self, artifact):
        self.measured.append(artifact.files["k"].decode())
        return Measurement(float(next(self.times[self.measured[-1]])), MEASURED, self.name)

    def run(self, artifact, inputs):
        return {"y": inputs["x"] + (artifact.files["k"] == b"wrong")}


def _fastest(device: Fake, *names: str):
    return fastest([_library(name) for name in names], device)


def test_a_library_that_is_clearly_faster_wins_by_its_gain():
    found = _fastest(Fake(a=1.0, b=0.9, c=0.8), "a", "b", "c")
    assert found.index == 2 and found.gain == pytest.approx(1.25) and found.seconds == (1.0, 0.8)


def test_the_first_stays_where_none_is_faster_by_three_percent():
    found = _fastest(Fake(a=1.0, b=0.98, c=1.2), "a", "b", "c")
    assert (found.index, found.gain) == (0, 1.0) and found.rival_gain == pytest.approx(1 / 0.98)


def test_a_lead_that_comes_and_goes_is_none():
    assert _fastest(Fake(a=1.0, b=(0.9, 0.9, 1.1)), "a", "b").index == 0


def test_luck_while_many_were_compared_does_not_count():
    lucky = (0.5,) * 5 + (1.0,) * DUEL
    found = _fastest(Fake(a=1.0, b=lucky), "a", "b")
    assert (found.index, found.gain) == (0, 1.0)


def test_a_single_library_is_the_fastest():
    found = _fastest(Fake(a=1.0), "a")
    assert (found.index, found.gain, found.seconds) == (0, 1.0, (1.0, 1.0))


def test_both_sides_of_the_duel_are_measured_in_turn():
    device = Fake(a=1.0, b=0.9, c=1.1)
    _fastest(device, "a", "b", "c")
    duel = device.measured[-2 * DUEL :]
    assert all(set(pair) == {"a", "b"} for pair in zip(duel[::2], duel[1::2], strict=True))


def test_a_winner_that_computes_something_else_is_a_failure():
    with pytest.raises(VerifyError):
        _fastest(Fake(right=1.0, wrong=0.5), "right", "wrong")
