"""What a register tile costs: instructions of the micro-kernel of a matrix product, multiply-adds and their loads."""

from __future__ import annotations

import numpy as np

from pfir.target import Target

# Register tiles, vectors of output channels by positions: 16 accumulators spill on no core with 32 registers.
TILES = ((1, 8), (2, 8), (3, 5), (4, 4))
# Set to zero, bias, activation, store: what a tile costs besides its reduction, per accumulator.
EPILOGUE = 4.0


def cheapest_tile(target: Target, vectors: np.ndarray, reduction: np.ndarray, channels_in: np.ndarray) -> np.ndarray:
    """Instructions per position and reduction step of the cheapest tiling; the largest aligned tile's are the unit."""
    lanes = target.lanes if target.triple.startswith(("aarch64", "armv7")) else 1
    inputs = np.maximum(channels_in, 1.0)
    aligned = reduction * np.ceil(inputs / lanes) * lanes / inputs
    costs = []
    for width, rows in TILES:
        steps = np.minimum(aligned * instructions(width, rows, lanes), reduction * instructions(width, rows, 1))
        costs.append(np.ceil(vectors / width) * width * (steps + EPILOGUE))
    return np.min(costs, axis=0) / (reduction * instructions(*TILES[-1], lanes))


def instructions(width: int, rows: int, lanes: int) -> float:
    """Instructions per multiply-accumulate instruction, where one load brings `lanes` input channels of a position."""
    return 1.0 + (rows / lanes + width) / (rows * width)
