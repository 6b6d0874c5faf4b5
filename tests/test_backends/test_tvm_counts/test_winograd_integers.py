"""Counted instructions of integer convolutions by Winograd's transforms are near those that the emulator executes."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.counts.integers.winograd import winograd_int8
from pfir.backends.tvm.schedule.blocks import NHWC
from pfir.backends.tvm.schedule.integers.winograd import IntegerWinograd
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.instructions import Instructions
from pfir.target import parse_target
from pfir.workload import Tail, Workload

AFTER = Tail(bias=True, operators=("QuantizeLinear",))
# Target, input and output channels, rows and columns; rows of a tile of the result, rows of tiles in a strip, vectors
# and rows of the register tile; instructions of a call, counted by `EmulatedDevice.instructions_by_class` less a call
# that computes nearly nothing.
COUNTED = (
    ("arm", 20, 12, 28, 4, 7, 3, 7, 240255),
    ("arm", 24, 33, 20, 4, 5, 3, 7, 359013),
    ("arm", 48, 20, 12, 4, 3, 4, 5, 136132),
    ("cortex-a53", 24, 20, 14, 2, 7, 3, 7, 151144),
    ("cortex-a53", 16, 16, 32, 4, 8, 2, 8, 316566),
    ("cortex-a53", 30, 30, 8, 4, 2, 4, 4, 61440),
    ("cortex-a53", 61, 40, 9, 4, 3, 4, 5, 295165),
    ("cortex-a72", 13, 11, 9, 2, 5, 3, 7, 32799),
    ("cortex-a72", 16, 16, 16, 2, 8, 4, 5, 108134),
    ("cortex-a72", 24, 20, 14, 2, 7, 3, 7, 150998),
    ("cortex-a72", 64, 64, 7, 2, 4, 2, 8, 339332),
    ("cortex-a72", 4, 16, 16, 4, 4, 4, 4, 39844),
    ("cortex-a72", 7, 9, 16, 4, 4, 3, 6, 45004),
    ("cortex-a72", 8, 8, 16, 4, 4, 2, 8, 29287),
    ("cortex-a72", 13, 27, 16, 4, 4, 4, 4, 119877),
    ("cortex-a72", 16, 11, 32, 4, 8, 3, 7, 262535),
    ("cortex-a72", 16, 16, 32, 4, 8, 4, 5, 311350),
    ("cortex-a72", 24, 40, 14, 4, 4, 2, 8, 233785),
    ("cortex-a72", 32, 32, 16, 4, 4, 2, 8, 243894),
    ("cortex-a72", 40, 64, 10, 4, 3, 2, 9, 302761),
    ("cortex-a72", 64, 64, 7, 4, 2, 6, 4, 206640),
    ("cortex-a72", 64, 64, 8, 4, 2, 6, 4, 209811),
)


def _counted(name: str, inner: int, outer: int, size: int, outputs: int, strip: int, *shape: int) -> Instructions:
    workload = Workload("conv", (1, inner, size, size), (1, outer, size, size), NHWC, (3, 3), pads=(1, 1), dtype="int8")
    plan = IntegerWinograd(outputs, strip, 8, MatrixTile(4, *shape, 8), "smull")
    return winograd_int8(parse_target(name), workload, AFTER, plan)


def test_counts_are_within_three_percent_of_the_emulators_on_most_kernels():
    errors = np.array([abs(_counted(*how).total / counted - 1) for *how, counted in COUNTED])
    assert np.mean(errors < 0.03) > 0.9 and errors.mean() < 0.012 and errors.max() < 0.04


@pytest.mark.parametrize(("outputs", "points"), [(4, 36), (2, 16)])
def test_multiplications_are_those_at_points_and_of_the_image(outputs, points):
    found, tiles = _counted("cortex-a72", 16, 16, 32, outputs, 4, 4, 5), (32 // outputs) ** 2
    image = 0 if outputs == 2 else tiles * 2 * 6 + 8 * 32 * 2
    assert found.widening == tiles * points * 16 * 4 + image


def test_counts_grow_with_the_channels():
    totals = [_counted("arm", n, n, 16, 4, 4, 4, 4).total for n in range(16, 129, 16)]
    assert totals == sorted(totals) and 30 < totals[-1] / totals[0] < 64


def test_a_part_of_a_tile_outside_the_image_is_not_computed():
    whole, part = (_counted("arm", 16, 16, size, 4, 4, 4, 4) for size in (16, 15))
    assert part.vector < whole.vector and part.widening >= 0.99 * whole.widening
