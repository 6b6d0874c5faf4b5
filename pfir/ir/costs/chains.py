"""Whether 16 bits hold the sums of four products of bytes, which cores without dot products add up before they widen.

Of each 32 neighbouring inputs of a layer, weights that lie eight apart are such a chain: a register holds eight.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, operand, producer
from pfir.ir.linear import linear_layer

WIDE = "wide"
"""What workloads call a layer over integers that has a longer sum."""
INPUTS = 32
"""Inputs that four registers hold; what is left of a layer's inputs is in no chain of four."""
LARGEST = 255
"""What the magnitudes of four weights may sum up to: times 128, it is less than 2^15."""
_CHAINED = 4


def chains_of(weight: np.ndarray) -> np.ndarray:
    """The weights that are in chains, `[..., O, I, taps]` -> `[..., O, whole 32 inputs, 4, 8, taps]`, a view."""
    *outer, inputs, taps = weight.shape
    return weight[..., : inputs // INPUTS * INPUTS, :].reshape(*outer, -1, _CHAINED, INPUTS // _CHAINED, taps)


def largest_chain(weight: np.ndarray) -> np.ndarray:
    """`[..., O]`: the greatest sum of magnitudes of a chain.

    Args:
        weight: `[..., O, I, taps]`, in steps or floats.
    """
    sums = np.abs(chains_of(weight).astype(np.float32)).sum(axis=-3)
    return sums.max(axis=(-3, -2, -1), initial=0.0)


def is_wide(weight: np.ndarray) -> bool:
    """Whether a layer of these integers `[..., O, I, taps]` has a chain that 16 bits may not hold."""
    return bool(largest_chain(weight).max(initial=0.0) > LARGEST)


def integer_weight(node: gs.Node) -> np.ndarray | None:
    """The constant weights of eight bits, zero for zero, of a layer, `[G, O, I, taps]`; None where it has no such."""
    layer = linear_layer(node)
    made = None if layer is None or not layer.is_laid_out else producer(layer.weight)
    if made is None or not is_op(made, "DequantizeLinear"):
        return None
    integers, zero = array(made.inputs[0]), array(operand(made, 2))
    if integers is None or integers.ndim < len("OI") or (zero is not None and zero.any()):
        return None
    return layer.layout.blocks(integers)
