"""What a 3x3 convolution costs by Winograd's transforms, in the unit in which a direct one costs its multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.devices.estimation.register_tiles import TILES, cheapest_tile, instructions
from pfir.target import FLOAT32, Target


@dataclass(frozen=True)
class Schedule:
    """Tiles of `outputs` rows and columns.

    Args:
        there, back: Instructions to transform one vector of channels of a tile, and to transform its result back; the
            TVM backend chooses by them too. Cycles on Zen 4, by leaving the transforms out; those of 2x2 in proportion
            to their sums.
    """

    outputs: int
    there: float
    back: float


SCHEDULES = (Schedule(4, 180.0, 150.0), Schedule(2, 60.0, 45.0))


def schedules_for(target: Target) -> tuple[Schedule, ...]:
    """The schedules that a target's arithmetic is exact enough for: in float16 the transforms of 4x4 tiles, whose
    weights reach from 1/24 to 8, would cost about ten times the error of a direct convolution."""
    return SCHEDULES if target.arithmetic == FLOAT32 else tuple(s for s in SCHEDULES if s.outputs == 2)


def tiled_work(
    target: Target, schedule: Schedule, values: np.ndarray, channels_out: np.ndarray, channels_in: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Multiply-adds that take as long at the rate of the largest register tile, and the values that transformed weights
    are more than those of the direct convolution; both [K].

    The products of each of the (outputs + 2)^2 points reduce over input channels alone; the transforms cost the same
    for each vector of channels, so narrow layers gain least.

    Args:
        values: Of the result, [K]; its image is taken for a square.
        channels_out, channels_in: [K].

    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308, sections 4
    and 5.
    """
    lanes = target.lanes if target.triple.startswith(("aarch64", "armv7")) else 1
    outputs, inputs = np.maximum(channels_out, 1.0), np.maximum(channels_in, 1.0)
    tiles = np.ceil(np.sqrt(values / outputs) / schedule.outputs) ** 2
    out_vectors, in_vectors = np.ceil(outputs / target.lanes), np.ceil(inputs / target.lanes)
    points = (schedule.outputs + 2) ** 2
    products = points * inputs * cheapest_tile(target, out_vectors, inputs, inputs)
    transforms = (in_vectors * schedule.there + out_vectors * schedule.back) / instructions(*TILES[-1], lanes)
    return tiles * (products + transforms) * target.lanes, (points - 9) * outputs * inputs
