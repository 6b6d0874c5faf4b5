"""What a quantized layer multiplies, and what its float counterpart gives, at some places of every sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pfir.passes.pruning.consumer_matrix import ConsumerMatrix, some
from pfir.passes.quantization.rounding.flow import Flow
from pfir.passes.quantization.rounding.layers import QuantizedLayer
from pfir.passes.quantization.rounding.segments import Segment

A_FEATURE = 16
"""Rows for each weight of an output, so that there is more to learn from than there is to choose."""
AT_LEAST = 4096
MOST_VALUES = 2**25
"""Numbers in the rows of one layer, 128 MiB."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs and outputs of a layer in rows, group by group.

    Args:
        inputs: What the quantized layer multiplies, float32 [G, R, F].
        wanted: What the float layer gives for them, before any Relu or Clip behind it, float32 [G, R, O].
    """

    inputs: np.ndarray
    wanted: np.ndarray


def rows_of(
    layer: QuantizedLayer, matrix: ConsumerMatrix, segment: Segment, flow: Flow, rng: np.random.Generator
) -> Rows:
    """The rows of a layer, at places chosen at random anew for every few samples."""
    count = len(next(iter(flow.ours.values())))
    wanted = math.ceil(_wanted(matrix) / count)
    inputs, outputs, data = [], [], layer.own.layer.data.name
    ours, theirs = flow.quantized(segment, (data,)), flow.floats(segment, (layer.result,))
    for read, given in zip(ours, theirs, strict=True):
        x, y = read[data], given[layer.result]
        places = some(matrix.places(x.shape), wanted, rng)
        inputs.append(matrix.rows(x, places))
        outputs.append(_outputs(matrix, y, places))
    return Rows(*(np.ascontiguousarray(np.concatenate(x, 1), np.float32) for x in (inputs, outputs)))


def _wanted(matrix: ConsumerMatrix) -> int:
    features = matrix.channels * matrix.taps
    return min(max(AT_LEAST, A_FEATURE * features), max(1, MOST_VALUES // (features * matrix.groups)))


def _outputs(matrix: ConsumerMatrix, y: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The outputs at these places of every sample, [G, N * P, O]."""
    rows = np.moveaxis(y, matrix.output_axis, -1)
    rows = rows.reshape(len(y), -1, rows.shape[-1])[:, places]
    return rows.reshape(-1, matrix.groups, rows.shape[2] // matrix.groups).swapaxes(0, 1)
