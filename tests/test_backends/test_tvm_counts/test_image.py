"""Which taps of a direct convolution's kernel meet the image, by tiles of a row of the result."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.backends.tvm.counts.convolutions.image import met, tiles_along
from pfir.backends.tvm.kernels.axis import Axis

AXES = st.builds(
    Axis,
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 6),
)


@settings(max_examples=60, deadline=None)
@given(axis=AXES, most=st.integers(1, 14))
def test_tiles_cover_a_row_and_all_taps_that_meet_the_image(axis, most):
    tiles = tiles_along(axis, most)
    assert all(1 <= columns <= most for columns, _, _ in tiles)
    assert sum(columns * count for columns, count, _ in tiles) == axis.out
    assert sum(count * taps * who for _, count, stretches in tiles for taps, who in stretches) == met(axis)
