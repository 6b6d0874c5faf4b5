"""What a quantized layer multiplies, and what its float counterpart gives, at some places of every sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pfir.passes.pruning.consumer_matrix import ConsumerMatrix, some
from pfir.passes.quantization.rounding.flow import Flow
from pfir.passes.quantization.rounding.goals import Goal
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
        wanted: What the float model gives for them, before any Relu or Clip behind it, float32 [G, R, O].
        beside: What is added to the quantized layer's outputs first, likewise, zeros where nothing is.
    """

    inputs: np.ndarray
    wanted: np.ndarray
    beside: np.ndarray


def rows_of(
    data: str, goal: Goal, matrix: ConsumerMatrix, segment: Segment, flow: Flow, rng: np.random.Generator
) -> Rows:
    """The rows of a layer, at places chosen at random anew for every few samples.

    Args:
        data: The tensor of the quantized model that the layer multiplies.
        goal: What it is to give.
        matrix: How it contracts.
        segment: Where it lies.
        flow: At the start of the segment.
        rng: Chooses.
    """
    wanted = math.ceil(_wanted(matrix) / len(next(iter(flow.ours.values()))))
    read = (data,) if goal.beside is None else (data, goal.beside)
    parts: list[Rows] = []
    ours, theirs = flow.quantized(segment, read), flow.floats(segment, (goal.wanted,))
    for mine, given in zip(ours, theirs, strict=True):
        x = mine[data]
        places = some(matrix.places(x.shape), wanted, rng)
        y = _outputs(matrix, given[goal.wanted], places)
        beside = np.zeros_like(y) if goal.beside is None else _outputs(matrix, mine[goal.beside], places)
        parts.append(Rows(matrix.rows(x, places), y, beside))
    return Rows(*(_joined(same) for same in zip(*((p.inputs, p.wanted, p.beside) for p in parts), strict=True)))


def _joined(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)


def _wanted(matrix: ConsumerMatrix) -> int:
    features = matrix.channels * matrix.taps
    return min(max(AT_LEAST, A_FEATURE * features), max(1, MOST_VALUES // (features * matrix.groups)))


def _outputs(matrix: ConsumerMatrix, y: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The outputs at these places of every sample, [G, N * P, O]."""
    rows = np.moveaxis(y, matrix.output_axis, -1)
    rows = rows.reshape(len(y), -1, rows.shape[-1])[:, places]
    return rows.reshape(-1, matrix.groups, rows.shape[2] // matrix.groups).swapaxes(0, 1)
