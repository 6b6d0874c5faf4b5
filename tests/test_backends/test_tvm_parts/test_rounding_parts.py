"""Tiles without free registers are rounded some positions at a time."""

from __future__ import annotations

import pytest

from pfir.backends.tvm.kernels.integers.results import together


@pytest.mark.parametrize("lanes", (4, 8, 16))
@pytest.mark.parametrize("positions", range(1, 15))
def test_positions_are_shared_out_evenly(positions, lanes):
    for adds in (False, True):
        each = together(positions, lanes, adds)
        assert 1 <= each <= positions and each * min(lanes, 8) <= 48
        parts = -(-positions // each)
        assert parts * each - positions < parts


def test_tensors_that_are_added_take_registers_as_well():
    assert (together(6, 16, False), together(6, 16, True), together(10, 8, False)) == (6, 3, 5)
