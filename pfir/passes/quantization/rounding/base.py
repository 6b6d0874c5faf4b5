"""What a way of rounding is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.grids import Grid, WeightGrid
from pfir.passes.quantization.placement import Placement


@dataclass(frozen=True)
class RoundingTask:
    """A model whose weights are to be rounded.

    Args:
        model: Still float, with equalised weights; layers and tensors have the names below. It is not changed.
        placement: Which layers and tensors get few bits.
        weights: The grid of each layer's weight, by name of its node.
        activations: The grid of each tensor that has few bits, by name.
        context: What the pass was given; `activations` is not None.
    """

    model: Model
    placement: Placement
    weights: Mapping[str, WeightGrid]
    activations: Mapping[str, Grid]
    context: Context


@dataclass(frozen=True)
class Rounded:
    """Weights as integers.

    Args:
        integers: int8 of the weight's shape by name of the layer's node, for every layer of the task.
        activations: New grids of tensors, where rounding learned some, by name; tensors that share a grid alike.
    """

    integers: Mapping[str, np.ndarray]
    activations: Mapping[str, Grid] = field(default_factory=dict)


Rounding = Callable[[RoundingTask], Rounded]
