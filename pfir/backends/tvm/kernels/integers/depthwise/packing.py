"""Weights of eight bits of a depthwise convolution, as the kernel reads them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pfir.backends.tvm.kernels.integers.depthwise.products import TapProducts
from pfir.backends.tvm.kernels.integers.depthwise.taps import TapGroup, groups_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.schedule.blocks import Block


def pack_depthwise(
    weight: np.ndarray, blocks: tuple[Block, ...], lines: int, products: TapProducts, rows: Border
) -> np.ndarray:
    """`[C, 1, KH, KW]` int8 -> flat: for each class of rows, block and line `[groups, b, taps]`, or `[groups, taps, b]`
    where no lane adds up products by itself; rows outside the image have zeros.

    Args:
        blocks: Each of b channels.
        lines: Those of a tile; each has its rows of the kernel further down than the one above it.
        products: How taps are multiplied.
        rows: The classes of the image's rows.
    """
    height, width = weight.shape[2:]
    groups = groups_of((height + (lines - 1) * rows.axis.stride, width), products.together)
    packed = np.stack(
        [
            [_line(weight[:, 0], rows.taps(kind), line * rows.axis.stride, groups) for line in range(lines)]
            for kind in range(rows.classes)
        ]
    )
    if not products.interleaved:
        packed = packed.swapaxes(-1, -2)
    axis = 3 if products.interleaved else 4
    parts = [packed.take(range(first, first + b), axis) for first, b in _starts(blocks, len(weight))]
    return np.concatenate([part[kind].reshape(-1) for kind in range(rows.classes) for part in parts])


def _line(weight: np.ndarray, met: list[int], down: int, groups: list[TapGroup]) -> np.ndarray:
    """`[C, KH, KW]` -> `[groups, C, taps]`, zeros for all rows but those that are `met`, all so far `down`."""
    rows, columns = (1 + max(axis) for axis in zip(*(tap for group in groups for tap in group.taps), strict=True))
    tall = np.zeros((len(weight), rows, columns), weight.dtype)
    tall[:, [down + row for row in met], : weight.shape[2]] = weight[:, met]
    return np.stack([np.stack([tall[:, i, j] for i, j in group.taps], axis=1) for group in groups])


def _starts(blocks: tuple[Block, ...], channels: int) -> Iterator[tuple[int, int]]:
    """The first channel of each block, which starts early enough to end with the last one, and how many it has."""
    first = 0
    for block in blocks:
        for _ in range(block.count):
            yield min(first, channels - block.channels), block.channels
            first += block.channels
