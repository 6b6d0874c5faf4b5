"""Counted instructions of products over integers that skip zeros are those that the emulator executes."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from tests.test_backends.test_tvm_counts.kept import errors, rows, whole
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = [row for row in rows("sparse_integers") if isinstance(row.schedule, SparseBlocks)]
LARGE = 10_000  # instructions; of smaller ones some are the call's


def test_totals_are_those_of_the_emulator():
    large, found = np.array([row.counted.total > LARGE for row in ROWS]), errors(ROWS, ours)
    assert sum(large) >= 36 and np.mean(found <= 0.03) >= 0.9 and found.max() <= 0.05


def test_products_are_exact():
    assert all((ours(row).dot, ours(row).widening) == (row.counted.dot, row.counted.widening) for row in ROWS)


@pytest.mark.parametrize("dot", ("sdot", "smmla", "smull"))
def test_kernels_by_each_instruction_cost_together_what_they_count(dot):
    found = [row for row in ROWS if row.schedule.dot == dot]
    assert found and abs(whole(found, ours) - 1) < 0.02
