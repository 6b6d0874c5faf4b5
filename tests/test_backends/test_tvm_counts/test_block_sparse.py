"""Counted instructions of products that skip zeros are those that the emulator executes."""

from __future__ import annotations

import numpy as np

from pfir.backends.tvm.schedule.tile_kinds import SparseTile
from tests.test_backends.test_tvm_counts.kept import errors, exact, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = [row for row in rows("sparse") if isinstance(row.schedule, SparseTile)]


def test_totals_are_those_of_the_emulator():
    assert len(ROWS) >= 12
    assert errors(ROWS, ours).max() <= 0.03


def test_multiply_adds_are_exact():
    assert np.all(exact(ROWS, ours))


def test_a_grid_as_a_whole_costs_what_it_counts():
    assert abs(whole(ROWS, ours) - 1) < 0.02
