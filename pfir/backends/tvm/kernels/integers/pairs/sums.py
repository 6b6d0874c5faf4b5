"""Sums of products of bytes where there are no dot products: lanes add pairs of products, and some neighbouring lanes,
added in the end, make the sum of a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.integers.pairs.products import PairProduct
from pfir.backends.tvm.kernels.integers.sums import Run, Sums
from pfir.backends.tvm.kernels.written import fence

# Bytes of the largest integer that is repeated as one.
_LARGEST = 8
_Value = Callable[[int, int, int], Any]
"""The input values of a position's group, as often as a vector of so many sums has channels."""


def pair_sums(product: PairProduct, together: int, fenced: bool, *common: Any) -> PairSums:
    """Such sums, from what all kinds are made of."""
    from tvm.tirx.script import builder as T

    (lanes, positions), parts = common[:2], []
    for width in lanes:
        each = product.vectors.lanes_of(width, together)
        parts.append(T.alloc_buffer((positions, width * together // (2 * each), each), "int32", scope="local"))
    return PairSums(*common, product, together, parts, fenced)


@dataclass(frozen=True)
class PairSums(Sums):
    """Sums in parts.

    Args:
        product: The instructions.
        together: Inputs of a channel side by side in a vector of weights, which has those of as many channels as fit.
        parts: For each vector of channels int32 `[positions, vectors, lanes]`; neighbours are added in the end.
        fenced: Whether LLVM is kept from mixing the products of all vectors, and spilling.
    """

    product: PairProduct
    together: int
    parts: list[Any]
    fenced: bool

    @property
    def late(self) -> bool:
        return True

    def begin(self) -> None:
        for parts in self.parts:
            positions, vectors, lanes = _sizes(parts)
            for i, vector in pairs(range(positions), range(vectors)):
                _store(parts, i, vector, _nothing(lanes))

    def finish(self) -> None:
        for cells, parts in zip(self.cells, self.parts, strict=True):
            for i in range(self.positions):
                self._gather(cells, parts, i)

    def add(self, run: Run, start: Any, groups: int, first: int, weights: Any) -> None:
        value, vectors = self._values(run, start, groups), self.product.vectors
        steps = [list(range(e, min(e + vectors.chained, groups))) for e in range(first, groups, vectors.chained)]
        places = [(parts, vector) for parts in self.parts for vector in range(_sizes(parts)[1])]
        many = self.fenced and len(places) > vectors.mixed
        for done, (step, (parts, vector)) in enumerate(pairs(steps, places)):
            fence(many and done > 0 and done % vectors.mixed == 0, whole=True)
            self._multiply(run.who, value, step, parts, vector, weights)
            weights += 2 * _sizes(parts)[2] * len(step)

    def _values(self, run: Run, start: Any, groups: int) -> _Value:
        """The input values of a load: widened from memory, or from the lanes of a register."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        size = self.together
        if self.product.vectors.chained == 1:
            return lambda i, e, lanes: _repeated(_load(self.image, run.index(i, start + e * size), size), size, lanes)
        cells = T.alloc_buffer((self.positions, size * groups), self.image.dtype, scope="local")
        for i in run.who:
            found = _load(self.image, run.index(i, start), size * groups)
            T.buffer_store(cells, found, [i, tirx.Ramp(0, 1, size * groups)])
        return lambda i, e, lanes: _repeated(_load(cells, [i, e * size], size), size, lanes)

    def _multiply(
        self, who: tuple[int, ...], value: _Value, groups: list[int], parts: Any, vector: int, weights: Any
    ) -> None:
        """Multiply groups of each position's values by their weights for the channels of a vector."""
        lanes = _sizes(parts)[2]
        found = self._weights(weights, len(groups), 2 * lanes)
        for i in who:
            factors = [(value(i, e, lanes), some) for e, some in zip(groups, found, strict=True)]
            total = _load(parts, [i, vector, 0], lanes)
            _store(parts, i, vector, self.product.add(total, factors, lanes))

    def _weights(self, begin: Any, count: int, size: int) -> list[Any]:
        """So many vectors of weights: the halves of one where those of input values are, too."""
        from tvm import tirx

        if count == 1 or self.together < size:
            return [_load(self.weights, [begin + size * k], size) for k in range(count)]
        both = _load(self.weights, [begin], size * count)
        return [tirx.Shuffle([both], list(range(k * size, (k + 1) * size))) for k in range(count)]

    def _gather(self, cells: Any, parts: Any, i: int) -> None:
        """Add the sums of a position to its cells."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        (_, vectors, lanes), (_, width) = _sizes(parts), _sizes(cells)
        found = [_load(parts, [i, vector, 0], lanes) for vector in range(vectors)]
        while len(found) * lanes > width:
            found, lanes = self._halved(found, lanes)
        for vector, sums in enumerate(found):
            place = [i, tirx.Ramp(vector * lanes, 1, lanes)]
            T.buffer_store(cells, tirx.BufferLoad(cells, place) + sums, place)

    def _halved(self, found: list[Any], lanes: int) -> tuple[list[Any], int]:
        """Half as many lanes, each the sum of two neighbours, and how many of them a vector has."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        if len(found) == 1:
            found, lanes = [tirx.Shuffle(found, list(range(k, k + lanes // 2))) for k in (0, lanes // 2)], lanes // 2
        kept = T.alloc_buffer((len(found) // 2, lanes), "int32", scope="local")
        place = [[vector, tirx.Ramp(0, 1, lanes)] for vector in range(len(found) // 2)]
        for index, first, second in zip(place, found[::2], found[1::2], strict=True):
            T.buffer_store(kept, self.product.neighbours(first, second, lanes), index)
        return [tirx.BufferLoad(kept, index) for index in place], lanes


def _sizes(buffer: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in buffer.shape)


def _load(buffer: Any, index: list[Any], size: int) -> Any:
    """So many neighbouring values."""
    from tvm import tirx

    *outer, last = index
    return tirx.BufferLoad(buffer, [*outer, tirx.Ramp(last, 1, size)])


def _store(buffer: Any, i: int, vector: int, values: Any) -> None:
    from tvm import tirx
    from tvm.tirx.script import builder as T

    T.buffer_store(buffer, values, [i, vector, tirx.Ramp(0, 1, _sizes(buffer)[2])])


def _nothing(lanes: int) -> Any:
    from tvm import tirx

    return tirx.Broadcast(tirx.const(0, "int32"), lanes)


def _repeated(values: Any, size: int, lanes: int) -> Any:
    """So many values, again and again up to two for each lane."""
    from tvm import tirx

    times, many = 2 * lanes // size, f"{str(values.ty).partition('x')[0]}x{2 * lanes}"
    if times == 1:
        return values
    if size > _LARGEST:
        return tirx.Shuffle([values] * times, list(range(size)) * times)
    whole = tirx.call_intrin(f"int{8 * size}", "tirx.reinterpret", values)
    return tirx.call_intrin(many, "tirx.reinterpret", tirx.Broadcast(whole, times))
