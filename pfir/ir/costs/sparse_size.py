"""How many bytes a model's weights take where each tensor is kept dense or without its zeros, whichever is less."""

from __future__ import annotations

from math import ceil

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.costs.model_cost import weights_of
from pfir.ir.costs.storage import storage_of
from pfir.ir.model import Model
from pfir.ir.onnx_io.sharing import shared_again
from pfir.ir.weights import meant


def sparse_size_bytes(model: Model, share: float = 1.0) -> int:
    """The bytes of all weights, each tensor once, before any entropy coding: an estimate of what a container holds.

    Args:
        share: Of its bits that each value has.
    """
    graph = model.clone().graph
    shared_again(graph)  # as it is in a file
    return sum(tensor_bytes(tensor, share) for tensor in weights_of(graph))


def tensor_bytes(tensor: gs.Constant, share: float = 1.0) -> int:
    """Bytes of a weight: dense, or a bit for each place and the values of those that are not zero."""
    values = meant(tensor)
    dense = ceil(share * storage_of(tensor).size_bytes(tuple(tensor.shape)))
    if values is None:
        return dense
    return min(dense, bitmap_bytes(values.size, int(np.count_nonzero(values)), 8 * dense / max(values.size, 1)))


def bitmap_bytes(size: int, nonzeros: int, value_bits: float) -> int:
    """Bytes of a bit for each place, and of the values that are not zero."""
    return ceil(size / 8) + ceil(nonzeros * value_bits / 8)
