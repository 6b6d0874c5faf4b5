"""Codebooks as standard ONNX: places packed into bytes, which ONNX Runtime unpacks once, when it loads the model."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names
from pfir.passes.codebook.books import WeightBooks, unrolled

FIRST_WITH_BIT_SHIFT = 11
"""The opset that brought BitShift."""
_WHOLE = 8
"""Places are padded to a multiple of so many, which end with a byte whatever the bits."""
_UNITS = (8, 4, 2, 1)
"""Bits that a byte is cut into: the most that divide those of a place."""


class Encoder:
    """Writes decoding nodes into a graph; what all of them share is written once.

    Rewrite of a weight W of C output channels and its layer::

        y = W x
            ->
        digits = Cast(Mod(BitShift(bytes, (0, u, 2u, ..)), 2^u))
        places = Reshape(digits, (-1, bits / u)) . (1, 2^u, ..)
        W = Reshape(Gather(codebooks, places + K * book), shape)
        y = W x

    What is not needed is left out: digits are places where they have all bits, one codebook needs no sum. The bytes are
    a stream of bits, the lowest ones first: place i is in bits i * bits to (i + 1) * bits.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self._graph, self._names = graph, Names(graph)
        self._shared: dict[str, gs.Constant] = {}
        self._count = 0

    def write(self, name: str, books: WeightBooks) -> tuple[list[gs.Node], gs.Variable]:
        """The nodes that decode a weight, in order, and the tensor that is the weight.

        Args:
            name: Of the weight, which the last tensor has from now on; nothing else in the graph may have it.
        """
        steps = _Steps(f"codebook{self._count}", self._names)
        self._count += 1
        places = self._places(books, steps)
        book = steps.constant("values", books.levels.ravel())
        values = steps.op("Gather", places, book, first=1)
        is_turned = books.levels.shape[0] > 1 and books.axis > 0
        turned = [books.shape[books.axis], *(n for i, n in enumerate(books.shape) if i != books.axis)]
        shape = np.array(turned if is_turned else books.shape, np.int64)
        weight = steps.op("Reshape", values, steps.constant("shape", shape))
        if is_turned:
            rest = list(range(1, len(turned)))
            weight = steps.op("Transpose", weight, perm=[*rest[: books.axis], 0, *rest[books.axis :]])
        weight.name, weight.dtype, weight.shape = name, np.dtype(np.float32), list(books.shape)
        return steps.nodes, weight

    def _places(self, books: WeightBooks, steps: _Steps) -> gs.Variable:
        """The places of all weights in all codebooks, one behind the other."""
        flat, bits = _in_order(books), books.bits
        unit = next(unit for unit in _UNITS if bits % unit == 0)
        bytes_ = steps.constant("packed", packed(flat, bits).reshape(-1, 1))
        digits = steps.op("Cast", self._digits(bytes_, unit, steps), to=int(onnx.TensorProto.INT32))
        places = digits if bits == unit else self._joined(digits, bits, unit, steps)
        if flat.size % _WHOLE:
            places = steps.op("Reshape", places, self._constant("flat", np.array([-1], np.int64)))
            end = steps.constant("count", np.array([flat.size], np.int64))
            places = steps.op("Slice", places, self._constant("start", np.zeros(1, np.int64)), end)
        return self._in_books(books, places, steps)

    def _joined(self, digits: gs.Variable, bits: int, unit: int, steps: _Steps) -> gs.Variable:
        """Places of several digits each, [N]."""
        count = bits // unit
        table = steps.op("Reshape", digits, self._constant(f"digits_{count}", np.array([-1, count], np.int64)))
        powers = (2 ** (unit * np.arange(count))).astype(np.int32)
        return steps.op("MatMul", table, self._constant(f"powers_{bits}", powers))

    def _digits(self, bytes_: gs.Tensor, unit: int, steps: _Steps) -> gs.Tensor:
        """Bytes cut into so many bits each, [N, 8 / unit]."""
        if unit == _WHOLE:
            return bytes_
        shifts = self._constant(f"shifts_{unit}", np.arange(0, _WHOLE, unit, dtype=np.uint8))
        base = self._constant(f"base_{unit}", np.array(2**unit, np.uint8))
        return steps.op("Mod", steps.op("BitShift", bytes_, shifts, direction="RIGHT"), base)

    def _in_books(self, books: WeightBooks, places: gs.Variable, steps: _Steps) -> gs.Variable:
        count, size = books.levels.shape
        if count == 1:
            return places
        table = steps.op("Reshape", places, steps.constant("rows", np.array([count, -1], np.int64)))
        starts = self._constant(f"books_{count}_{size}", (size * np.arange(count, dtype=np.int32)).reshape(-1, 1))
        return steps.op("Add", table, starts)

    def _constant(self, name: str, values: np.ndarray) -> gs.Constant:
        """A constant that all weights share."""
        if name not in self._shared:
            self._shared[name] = gs.Constant(self._names.fresh(f"codebooks_{name}"), values)
        return self._shared[name]


def packed(places: np.ndarray, bits: int) -> np.ndarray:
    """Places of so many bits as a stream of bytes, the lowest bits first, padded with zeros to a multiple of 8 places.

    Args:
        places: uint8 [N].
        bits: 1 to 8.
    """
    whole = np.pad(places, (0, -places.size % _WHOLE))
    return np.packbits(np.unpackbits(whole[:, None], axis=1, count=bits, bitorder="little").ravel(), bitorder="little")


def _in_order(books: WeightBooks) -> np.ndarray:
    """The places as they are written: of one codebook in the order of the weight, else channel by channel."""
    if books.levels.shape[0] > 1:
        return books.places.ravel()
    return unrolled(books.places, books.axis, books.shape).ravel()


class _Steps:
    """The nodes that decode one weight, so far; names are short, since a small layer's file is not much more."""

    def __init__(self, name: str, names: Names) -> None:
        self._name, self._names = name, names
        self.nodes: list[gs.Node] = []

    def constant(self, what: str, values: np.ndarray) -> gs.Constant:
        return gs.Constant(self._names.fresh(f"{self._name}_{what}"), values)

    def op(self, op: str, x: gs.Tensor, *others: gs.Tensor, first: int = 0, **attrs: object) -> gs.Variable:
        """The output of a new node that reads these; `first` is where x stands among them."""
        given = [*others[:first], x, *others[first:]]
        result = gs.Variable(self._names.fresh(f"{self._name}_{op.lower()}"))
        self.nodes.append(gs.Node(op, self._names.fresh(f"{self._name}_{op}"), attrs, given, [result]))
        return result
