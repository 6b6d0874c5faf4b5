"""Weights as kernels by Winograd's algorithm read them: points in blocks of output channels."""

from __future__ import annotations

import numpy as np

from pfir.backends.tvm.kernels.winograd.transforms import KERNEL, points_of
from pfir.backends.tvm.schedule.tile_kinds import NarrowingTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES


def blocked(weight: np.ndarray, tile: ProductTile) -> np.ndarray:
    """`[O, I, 3, 3]` -> `[O/b, 9, I, b]`, zeros where O is no multiple of b; channels that two tiles share a vector for
    stand there twice."""
    channels, inputs = weight.shape[:2]
    taps = weight.reshape(channels, inputs, -1).transpose(2, 1, 0)
    padded = np.pad(taps, ((0, 0), (0, 0), (0, -channels % tile.block)))
    if isinstance(tile, NarrowingTile):
        last = channels - 1 - (channels - 1) % FEWEST_LANES
        padded[..., last + FEWEST_LANES : last + 2 * FEWEST_LANES] = padded[..., last : last + FEWEST_LANES]
    blocks = padded.reshape(len(taps), inputs, -1, tile.block).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(blocks)


def pointed(kernels: np.ndarray, outputs: int) -> np.ndarray:
    """`[O/b, 9, I, b]` float32 -> `[O/b, (m + 2)^2, I, b]` for `outputs` m, rounded once from float64."""
    blocks, taps, *sizes = kernels.shape
    rows = KERNEL[outputs]
    points = points_of(kernels.reshape(blocks, taps, -1).astype(np.float64), rows) * (1.0 / rows[-1][-1] ** 2)
    return points.astype(np.float32).reshape(blocks, -1, *sizes)
