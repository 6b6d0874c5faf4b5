"""Scales of weights: one for each output channel or one for a whole weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pfir.ir.costs.chains import LARGEST, largest_chain
from pfir.ir.linear_edits import EditableLayer
from pfir.passes.quantization.grids import SMALLEST_SCALE, WeightGrid

SHARES = np.linspace(0.3, 1.0, 71)
"""Of the largest weight: what the search for the least squared error tries."""
LARGEST_BIAS = 2.0**30
"""In steps of both scales' product; half of what 32 bits hold leaves room for the sum."""
_ROUNDED_UP = 2.5  # what the nearest integers of four weights, and float32, may be more than those


def weight_grid(layer: EditableLayer, bits: int, per_channel: bool, least_error: bool) -> WeightGrid:
    """The grid of a layer's weight.

    Args:
        per_channel: One scale for each output channel rather than one for all.
        least_error: Scales of the least squared error rather than those that clip nothing.
    """
    weight, axis = layer.weight, layer.layer.output_axis
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1) if per_channel else weight.reshape(1, -1)
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    scale = _of_least_error(rows, largest / limit, limit) if least_error else largest / limit
    scale = np.maximum(scale, SMALLEST_SCALE).astype(np.float32)
    return WeightGrid(scale if per_channel else scale.reshape(()), axis, bits)


def with_room_for_bias(grid: WeightGrid, bias: np.ndarray, data_scale: float) -> WeightGrid:
    """The grid, its scales raised where the bias would not fit into 32 bits: where weights are next to nothing.

    Args:
        bias: float64 [C], one number for each output channel of all groups.
        data_scale: The scale of what the layer reads.
    """
    return _raised(grid, np.abs(bias) / (LARGEST_BIAS * data_scale))


def with_room_for_sums(grid: WeightGrid, layer: EditableLayer) -> WeightGrid:
    """The grid, its scales raised where 16 bits may not hold a chain of four products, which is rare: it lets cores
    without dot products add up twice as many before they widen.

    Source: Colbert et al., "A2Q: Accumulator-Aware Quantization with Guaranteed Overflow Avoidance", ICCV 2023,
    arXiv:2308.13504, section 3; here of chains rather than of whole layers, which takes next to nothing.
    """
    if not layer.layer.is_laid_out:
        return grid
    layout = layer.layer.layout
    exceeds = largest_chain(layout.blocks(grid.integers(layer.weight))) > LARGEST
    least = np.where(exceeds, largest_chain(layout.blocks(layer.weight)) / (LARGEST - _ROUNDED_UP), 0.0)
    return _raised(grid, least)


def _raised(grid: WeightGrid, least: np.ndarray) -> WeightGrid:
    """The grid with at least such scales, one for each output channel of all groups."""
    least = least.max(initial=0.0) if grid.scale.ndim == 0 else least.reshape(-1, grid.scale.size).max(axis=0)
    return replace(grid, scale=np.asarray(np.maximum(grid.scale, least), np.float32))


def _of_least_error(rows: np.ndarray, scale: np.ndarray, limit: int) -> np.ndarray:
    """float64 [C]: of shares of these scales, those by which rows lose least."""
    best, least = scale.copy(), np.full(len(rows), np.inf)
    safe = np.maximum(scale, SMALLEST_SCALE)[:, None]
    for share in SHARES[::-1]:
        tried = safe * share
        error = np.square(np.clip(np.rint(rows / tried), -limit, limit) * tried - rows).sum(axis=1)
        best = np.where(error < least, scale * share, best)
        least = np.minimum(error, least)
    return best
