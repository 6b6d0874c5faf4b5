"""Chosen weights brought back to where 16 bits hold the sums of their chains."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pfir.ir.costs.chains import LARGEST, chains_of, largest_chain
from pfir.ir.model import Model
from pfir.passes.quantization.qdq.integer_layers import integer_layers


def shorten_chains(model: Model, nodes: Collection[str]) -> None:
    """Bring down the greatest weights of chains that 16 bits may not hold, in place.

    Args:
        model: Standard ONNX Q/DQ.
        nodes: Those of the layers that are looked at.
    """
    held = model.initializers()
    for own in integer_layers(model):
        integers, layout = np.asarray(held[own.integers].values), own.layer.layout
        if own.node in nodes and own.layer.is_laid_out and integers.dtype == np.int8:
            blocks = layout.blocks(integers)
            if largest_chain(blocks).max(initial=0.0) > LARGEST:
                model.set_arrays({own.integers: layout.weight(_shortened(blocks), integers.shape)})


def _shortened(blocks: np.ndarray) -> np.ndarray:
    """`[G, O, I, taps]` int8, of each chain that is too long the greatest weight nearer to zero, step by step."""
    weight = np.array(blocks)
    chains = chains_of(weight)
    while True:
        magnitudes = np.abs(chains.astype(np.int16))
        longer = magnitudes.sum(axis=-3, keepdims=True) > LARGEST
        if not longer.any():
            return weight
        greatest = magnitudes.argmax(axis=-3)[..., None, :, :]
        values = np.take_along_axis(chains, greatest, axis=-3)
        np.put_along_axis(chains, greatest, values - np.sign(values) * longer, axis=-3)
