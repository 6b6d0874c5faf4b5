"""Which taps of a depthwise kernel are multiplied together, and its weights of eight bits as the kernel reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.tap_products import TapProducts
from pfir.backends.tvm.schedule.blocks import Block


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


def block_starts(blocks: tuple[Block, ...], channels: int) -> Iterator[tuple[int, int]]:
    """The first channel of each block, which starts early enough to end with the last one, and how many it has."""
    first = 0
    for block in blocks:
        for _ in range(block.count):
            yield min(first, channels - block.channels), block.channels
            first += block.channels


def pack_depthwise(weight: np.ndarray, blocks: tuple[Block, ...], products: TapProducts, rows: Border) -> np.ndarray:
    """`[C, 1, KH, KW]` int8 -> flat: for each class of rows and block `[groups, b, taps]`, or `[groups, taps, b]` where
    no lane adds up products by itself; rows outside the image have zeros.

    Args:
        blocks: Each of b channels.
        products: How taps are multiplied.
        rows: The classes of the image's rows.
    """
    groups, blocks_of = groups_of(weight.shape[2:], products.together), list(block_starts(blocks, len(weight)))
    packed = [_of_class(weight[:, 0], rows.taps(kind), groups) for kind in range(rows.classes)]
    found = [every[:, first : first + width] for every in packed for first, width in blocks_of]
    return np.concatenate([(part if products.interleaved else part.swapaxes(1, 2)).reshape(-1) for part in found])


def _of_class(weight: np.ndarray, met: list[int], groups: list[TapGroup]) -> np.ndarray:
    """`[C, KH, KW]` -> `[groups, C, together]`, zeros for all rows but those that are `met`."""
    (channels, height, width), most = weight.shape, max(group.rows for group in groups)
    wide = np.zeros((channels, height + most, width + len(groups[0].taps)), weight.dtype)
    wide[:, met, :width] = weight[:, met]
    return np.stack([np.stack([wide[:, i, j] for i, j in group.taps], axis=1) for group in groups])
