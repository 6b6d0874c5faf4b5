"""Which taps of a depthwise kernel are multiplied together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TapGroup:
    """Taps whose products are added up together, one column of them after the other.

    Args:
        row, column: Of the first one.
        rows, columns: How many there are; some may be outside the kernel, and count as zeros.
    """

    row: int
    column: int
    rows: int
    columns: int

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Row and column of each."""
        return [(self.row + i, self.column + j) for j in range(self.columns) for i in range(self.rows)]


def groups_of(kernel: tuple[int, int], together: int) -> list[TapGroup]:
    """All taps of a kernel in groups of so many, those that are complete first as columns come in first.

    Groups stand upright, so that one column of the image serves each output that has it under a tap; rows that are left
    lie along instead.
    """
    found, (height, width) = [], kernel
    for row in range(0, height, together):
        rows = 1 << (min(together, height - row) - 1).bit_length()
        columns = together // rows
        found += [TapGroup(row, column, rows, columns) for column in range(0, width, columns)]
    return sorted(found, key=lambda group: group.column + group.columns)
