"""Windows: where they lie, against a plain loop."""

from itertools import product

import numpy as np
import pytest

from pfir.ir.windows import Windows

CASES = {
    "plain": Windows((3, 2), (1, 1), (1, 1), (0, 0, 0, 0)),
    "strides and dilations": Windows((2, 3), (3, 2), (2, 1), (0, 0, 0, 0)),
    "uneven pads": Windows((3, 3), (2, 1), (1, 2), (0, 1, 2, 3)),
    "one axis": Windows((4,), (2,), (1,), (1, 2)),
    "VALID counts no pads": Windows((3, 2), (1, 2), (1, 1), (9, 9, 9, 9), "VALID"),
    "SAME_UPPER": Windows((2, 4), (2, 3), (1, 1), (), "SAME_UPPER"),
    "SAME_LOWER": Windows((2, 4), (2, 3), (1, 1), (), "SAME_LOWER"),
}


@pytest.mark.parametrize("case", CASES)
def test_windows_hold_what_a_loop_over_taps_finds(case):
    windows = CASES[case]
    sizes = (9, 8)[: len(windows.kernel)]
    x = np.random.default_rng(0).standard_normal((2, 3, *sizes))
    found, padding = windows.of(x), windows.padding(sizes)
    assert found.shape == (2, 3, *windows.grid(sizes), *windows.kernel)
    for place in product(*map(range, windows.grid(sizes))):
        for tap in product(*map(range, windows.kernel)):
            steps = zip(place, tap, windows.strides, windows.dilations, padding, strict=True)
            at = [p * s + t * d - before for p, t, s, d, (before, _) in steps]
            inside = all(0 <= i < n for i, n in zip(at, sizes, strict=True))
            wanted = x[(slice(None), slice(None), *at)] if inside else np.zeros((2, 3))
            np.testing.assert_array_equal(found[(slice(None), slice(None), *place, *tap)], wanted)


@pytest.mark.parametrize("case", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_keeps_one_window_a_stride(case):
    assert CASES[case].grid((9, 8)) == [5, 3]


def test_a_product_looks_at_one_input_at_a_time():
    assert Windows().taps == 1 and Windows().grid(()) == []
