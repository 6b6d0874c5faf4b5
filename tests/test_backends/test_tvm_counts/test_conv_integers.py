"""Counted instructions of convolutions over integers are near those that the emulator executes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_backends.test_tvm_counts.kept import errors, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = rows("conv_integers")
DOTS = ("sdot", "smmla", "smull", "smull.4")


def test_totals_are_near_those_of_the_emulator():
    found = errors(ROWS, ours)
    assert len(ROWS) >= 90 and np.mean(found <= 0.03) >= 0.7 and np.mean(found <= 0.08) >= 0.95


def test_products_are_exact():
    assert all((ours(row).dot, ours(row).widening) == (row.counted.dot, row.counted.widening) for row in ROWS)


@pytest.mark.parametrize("dot", DOTS)
def test_kernels_by_each_instruction_cost_together_what_they_count(dot):
    found = [row for row in ROWS if row.schedule.dot == dot]
    assert found and abs(whole(found, ours) - 1) < 0.02
