"""Which input values each position of a depthwise tile multiplies, counted from the first column under the tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pfir.backends.tvm.kernels.axis import Axis, Taps
from pfir.backends.tvm.kernels.integers.depthwise.taps import TapGroup, groups_of

# A row of the kernel, and a column; None where that is outside the image.
Place = tuple[int, int] | None
# The groups of taps that meet the image, by number, and the places under each one's taps.
Read = tuple[tuple[int, tuple[Place, ...]], ...]


@dataclass(frozen=True)
class Window:
    """What each position of a tile reads: `lines` of them, one below the other, share the rows that they overlap in.

    Args:
        height: Rows of the kernel.
        stride: Rows from one line to the next.
        columns: The axis of columns.
        together: Taps of a group.
    """

    height: int
    stride: int
    lines: int
    columns: Axis
    together: int

    @property
    def rows(self) -> int:
        """Rows of the image under all lines."""
        return self.height + (self.lines - 1) * self.stride

    @property
    def groups(self) -> list[TapGroup]:
        """Those of a kernel that is as high as all lines together; a line's own rows have other weights than zeros."""
        return groups_of((self.rows, self.columns.kernel), self.together)


@lru_cache(maxsize=1 << 12)
def reads_of(window: Window, taps: Taps) -> tuple[tuple[Read, ...], ...]:
    """What a tile reads, `[positions, lines]`.

    Args:
        taps: For each position, the columns of the kernel that meet the image.
    """
    columns, last = window.columns, window.rows - 1
    inside = {_column(columns, i, tap) for i, met in enumerate(taps) for tap in met}

    def read(i: int, line: int) -> Read:
        rows = range(line * window.stride, line * window.stride + window.height)
        met = {(row, tap) for row in rows for tap in taps[i]}
        return tuple((n, places(i, group)) for n, group in enumerate(window.groups) if met.intersection(group.taps))

    def places(i: int, group: TapGroup) -> tuple[Place, ...]:
        found = ((row, _column(columns, i, tap)) for row, tap in group.taps)
        # Rows behind the last one have zeros for weights: any values will do.
        return tuple((min(row, last), column) if column in inside else None for row, column in found)

    return tuple(tuple(read(i, line) for line in range(window.lines)) for i in range(len(taps)))


def _column(columns: Axis, i: int, tap: int) -> int:
    return i * columns.stride + tap * columns.step
