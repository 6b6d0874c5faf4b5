"""What the weights of layers are kept as, floats, integers or places in codebooks, in how many bytes, zeros counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.codebooks import codebook_weight
from pfir.ir.costs.storage import storage_of
from pfir.ir.edit import producer
from pfir.ir.linear import linear_layers
from pfir.ir.model import Model
from pfir.ir.weights import numbers

CODEBOOK = "codebook"


@dataclass(frozen=True)
class KeptWeight:
    """The weight of a layer in a file.

    Args:
        kind: `codebook`, or the type of its numbers.
        size_bytes: That it takes before any packing, biases and scales left out.
        values: How many numbers it has.
        zeros: How many of them are zero.
    """

    kind: str
    size_bytes: int
    values: int
    zeros: int


def kept_weights(model: Model) -> dict[str, KeptWeight]:
    """The weights of all layers of the main graph by name of the node, each at the first layer that reads it."""
    found: dict[str, KeptWeight] = {}
    known: set[int] = set()
    for layer in linear_layers(model):
        if id(layer.weight) not in known:
            known.add(id(layer.weight))
            found[layer.node.name or layer.node.outputs[0].name] = _kept(layer.weight)
    return found


def _kept(weight: gs.Tensor) -> KeptWeight:
    values = numbers(weight)
    count, zeros = (0, 0) if values is None else (values.size, int(values.size - np.count_nonzero(values)))
    coded = codebook_weight(weight)
    if coded is not None:
        return KeptWeight(CODEBOOK, coded.packed.values.nbytes + coded.book.values.nbytes, count, zeros)
    constant = _constant(weight)
    size = storage_of(constant).size_bytes(tuple(constant.shape))
    return KeptWeight(str(np.dtype(constant.dtype)), size, count or int(np.prod(constant.shape)), zeros)


def _constant(tensor: gs.Tensor) -> gs.Tensor:
    """The constant that a weight is, or is made of by the nodes behind it."""
    while (node := producer(tensor)) is not None and node.inputs:
        tensor = node.inputs[0]
    return tensor
