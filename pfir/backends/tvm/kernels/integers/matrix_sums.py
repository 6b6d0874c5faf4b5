"""Sums of products of bytes by Arm's matrix products: two positions by two channels, eight values of each at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.integers.sums import Run, Sums
from pfir.backends.tvm.schedule.integers.dot_blocks import MATRIX_VALUES

_SMMLA = "llvm.aarch64.neon.smmla.v4i32.v16i8"
_FOUR = 4  # channels of a vector
# Of two vectors of two halves: the second ones of both, and then, where the first vector was, the first ones.
_HALVES = ([1, 3], [0, 2])


@dataclass(frozen=True)
class MatrixSums(Sums):
    """Sums by `smmla`, which adds to `[position, channel]` 2x2 in a register; an odd last position is multiplied twice.

    Args:
        pairs: For each vector of channels int32 `[pairs of positions, pairs of channels, 4]`.
    """

    pairs: list[Any]

    def begin(self) -> None:
        self._exchange(into_pairs=True)

    def finish(self) -> None:
        self._exchange(into_pairs=False)

    def add(self, run: Run, start: Any, groups: int, first: int, weights: Any) -> None:
        met = [pair for pair in range(-(-self.positions // 2)) if {2 * pair, 2 * pair + 1} & set(run.who)]
        values = {pair: self._values(run, start, groups, pair) for pair in met}
        for e in range(first, groups):
            factors = {pair: _both(*values[pair], [e, groups + e]) for pair in met}
            self._multiply(factors, weights + (e - first) * MATRIX_VALUES * sum(self.lanes))

    def _exchange(self, into_pairs: bool) -> None:
        """Move all sums between rows of four channels of a position, and squares of two by two."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        for cells, pairs, width in zip(self.cells, self.pairs, self.lanes, strict=True):
            for i in range(0, self.positions, 2):
                for c in range(0, width, _FOUR):
                    rows = [[cells, [min(i + k, self.positions - 1), tirx.Ramp(c, 1, _FOUR)]] for k in (0, 1)]
                    squares = [[pairs, [i // 2, c // 2 + k, tirx.Ramp(0, 1, _FOUR)]] for k in (0, 1)]
                    source, into = (rows, squares) if into_pairs else (squares, rows)
                    halves = [tirx.reinterpret("int64x2", tirx.BufferLoad(*place)) for place in source]
                    for places, (buffer, index) in zip(_HALVES, reversed(into), strict=True):
                        T.buffer_store(buffer, tirx.reinterpret("int32x4", tirx.Shuffle(halves, places)), index)

    def _values(self, run: Run, start: Any, groups: int, pair: int) -> tuple[Any, Any]:
        """The values of both positions of a pair, eight each to an int64; zeros where they do not count."""
        who = (min(2 * pair + k, self.positions - 1) for k in (0, 1))
        first, second = (
            _eights(self.image, run.index(i, start), groups) if i in run.who else _zeros(groups) for i in who
        )
        return first, second

    def _multiply(self, factors: dict[int, Any], weights: Any) -> None:
        """Multiply eight of each position's values by their weights for all vectors."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        at = 0
        for pairs, width in zip(self.pairs, self.lanes, strict=True):
            for j in range(width // 2):
                first = weights + MATRIX_VALUES * (at + 2 * j)
                factor = tirx.BufferLoad(self.weights, [tirx.Ramp(first, 1, 2 * MATRIX_VALUES)])
                for pair, values in factors.items():
                    place = [pair, j, tirx.Ramp(0, 1, _FOUR)]
                    total = tirx.BufferLoad(pairs, place)
                    T.buffer_store(pairs, tirx.call_llvm_pure_intrin("int32x4", _SMMLA, total, values, factor), place)
            at += width


def _eights(image: Any, index: list[Any], groups: int) -> Any:
    """So many groups of eight neighbouring bytes as a vector of int64."""
    from tvm import tirx

    *outer, last = index
    found = tirx.BufferLoad(image, [*outer, tirx.Ramp(last, 1, MATRIX_VALUES * groups)])
    return tirx.reinterpret(_type(groups), found)


def _zeros(groups: int) -> Any:
    from tvm import tirx

    zero = tirx.const(0, "int64")
    return zero if groups == 1 else tirx.Broadcast(zero, groups)


def _type(groups: int) -> str:
    return "int64" if groups == 1 else f"int64x{groups}"


def _both(first: Any, second: Any, places: list[int]) -> Any:
    """Two of the vectors' groups of eight, as 16 bytes."""
    from tvm import tirx

    return tirx.reinterpret("int8x16", tirx.Shuffle([first, second], places))
