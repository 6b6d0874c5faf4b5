"""How the values of a weight are kept: bits of each, and what comes on top for blocks, rows and the whole tensor."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod

import onnx_graphsurgeon as gs

from pfir.ir.costs.symbolic_cost import Dim, axes
from pfir.ir.onnx_io.tensors import element_type, stored_bytes

_BITS = 8


@dataclass(frozen=True)
class SizeTerm:
    """Bytes as a product: `scale` times the sizes of these (tensor, axis)."""

    scale: float
    dims: tuple[Dim, ...]


@dataclass(frozen=True)
class Storage:
    """The bits that a weight takes. A row holds the values of one output: all that share a place on the first axis.

    Quantized weights have a scale for each row or block, sparse ones fewer bits than a value has and an index for each
    block, those of a codebook the bits of an index and the book once.

    Args:
        value_bits: Bits of each value, on average.
        row_bits: On top for each row, such as a scale.
        block_values: Values of a block; rows begin new ones. 0 where there are no blocks.
        block_bits: On top for each block, such as a scale or the places of those values that are not zero.
        tensor_bits: On top once, such as a codebook.
    """

    value_bits: Fraction | int
    row_bits: int = 0
    block_values: int = 0
    block_bits: int = 0
    tensor_bits: int = 0

    def size_bytes(self, shape: tuple[int, ...]) -> int:
        """Whole bytes of a tensor of these sizes."""
        rows, values = (shape[0] if shape else 1), prod(shape)
        blocks = rows * ceil(Fraction(values, rows) / self.block_values) if self.block_values and rows else 0
        bits = values * self.value_bits + rows * self.row_bits + blocks * self.block_bits + self.tensor_bits
        return ceil(Fraction(bits) / _BITS)

    def terms(self, tensor: gs.Tensor) -> list[SizeTerm]:
        """The bytes as formulas over the tensor's sizes; a block that is not full counts as the share that it holds."""
        each, whole = Fraction(self.value_bits), axes(tensor)
        if self.block_values:
            each += Fraction(self.block_bits, self.block_values)
        parts = [(each, whole), (Fraction(self.row_bits), whole[:1]), (Fraction(self.tensor_bits), ())]
        return [SizeTerm(float(bits / _BITS), dims) for bits, dims in parts if bits]


def storage_of(tensor: gs.Tensor) -> Storage:
    """How a file holds a tensor: as many bits for each value as its type has."""
    return Storage(stored_bytes(element_type(tensor.dtype), _BITS))  # bytes of eight values are bits of one
