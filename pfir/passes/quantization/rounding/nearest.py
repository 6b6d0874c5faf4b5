"""Rounding each weight to the nearest integer of its grid."""

from __future__ import annotations

from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.rounding.base import Rounded, RoundingTask


def nearest(task: RoundingTask) -> Rounded:
    """The integers that lie nearest to each weight."""
    layers = layers_of(task.model)
    return Rounded({name: grid.integers(layers[name].weight) for name, grid in task.weights.items()})
