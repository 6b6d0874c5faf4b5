"""Bits for every layer where weights are integers times a scale."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.bits.choice import Layers, bits_on_average
from pfir.passes.bits.importance import importances
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.planning import Settings
from pfir.passes.quantization.weights import weight_grid

BITS = range(2, 9)
"""The bits that a weight may have."""


def uniform_bits(
    model: Model, settings: Settings, left_in_float: Collection[str], average: float, activations: Activations
) -> dict[str, int]:
    """Bits by name of the layer's node, as `bits_on_average` chooses them, activations left in float.

    Args:
        model: Float, as it will be quantized.
        settings: How scales are found.
        left_in_float: Nodes that keep float weights.
    """
    layers = {name: layer for name, layer in layers_of(model).items() if name not in left_in_float}

    def rounded(name: str, bits: int) -> np.ndarray:
        grid = weight_grid(layers[name], bits, settings.per_channel, settings.least_error)
        return grid.numbers(grid.integers(layers[name].weight))

    given = Layers(model, layers, importances(model, layers, activations), rounded, BITS)
    return bits_on_average(given, average, activations)
