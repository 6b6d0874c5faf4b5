"""Bits that a search chooses: how many a weight has on average; which layer has how many is told by `bits_within`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from pfir.ir.linear_edits import EditableLayer
from pfir.passes.bits.choice import average_budget
from pfir.passes.bits.programme import ByLayer, best_bits
from pfir.space import Parameter, Space

AVERAGE_BITS = "average_bits"
"""The name of the parameter."""
FEWEST, MOST, START = 2.0, 8.0, 4.0
"""Bits on average that a search may choose, and where it begins."""
_STEP = 0.25


class Rounds(Protocol):
    """A pass that gives the weights of layers few bits."""

    @property
    def choices(self) -> Sequence[int]:
        """The bits that a layer may have."""

    def rounded(self, layer: EditableLayer, bits: int) -> np.ndarray:
        """The weight of a layer as so many bits hold it, float32 of its shape, told from itself alone."""


def average_space() -> Space:
    """One parameter, the bits on average, in quarters."""
    values = tuple(np.arange(FEWEST, MOST + _STEP / 2, _STEP).tolist())
    return Space((Parameter(AVERAGE_BITS, FEWEST, MOST, START, values=values, low_is_cheap=True),))


def bits_within(
    layers: Mapping[str, EditableLayer], losses: ByLayer, choices: Sequence[int], average: float
) -> dict[str, int]:
    """Bits by name of the layer's node, on average over all weights at most so many, by which least is lost.

    Args:
        losses: Of these layers, at least.
        average: At least the fewest bits that a layer may have.
    """
    known = {name: losses[name] for name in layers}
    return best_bits(known, [average_budget(layers, choices, average)]) if layers else {}
