"""What moves values takes about what the emulator counted."""

from __future__ import annotations

import numpy as np

from tests.test_backends.test_tvm_counts.kept import errors, rows
from tests.test_backends.test_tvm_counts.ours import POOLS, ours

ROWS = [row for row in rows("moves") if row.node not in POOLS]


def test_joins_of_float32_take_what_the_emulator_counted():
    joins = [row for row in ROWS if row.node == "Concat" and row.on == "arm"]
    assert max(errors(joins, ours)) < 0.06


def test_most_moves_take_about_what_the_emulator_counted():
    found = errors([row for row in ROWS if row.node != "Resize"], ours)
    assert np.mean(found <= 0.03) > 0.75 and np.mean(found <= 0.1) > 0.9


def test_samples_to_the_nearest_take_about_what_the_emulator_counted_in_float32():
    found = errors([row for row in ROWS if row.node == "Resize" and row.on == "arm"], ours)
    assert max(found) < 0.06


def test_bytes_are_those_that_are_moved():
    for row in ROWS:
        if row.node == "Reshape":
            assert ours(row).store_bytes <= 1.3 * row.counted.store_bytes
