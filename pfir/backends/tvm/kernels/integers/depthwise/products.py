"""How products of a group of taps are added to sums: dot products of bytes, or products of 16 bits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.integers.dot_products import DOT_PRODUCTS, DotProduct, four
from pfir.backends.tvm.kernels.integers.groups import TOGETHER


class TapProducts(ABC):
    """A way of multiplying vectors of channels, which do not mix.

    Args:
        together: Taps whose products are added up before they are added to a sum.
        interleaved: Whether a lane adds them up, so that its weights lie side by side.
    """

    together: int
    interleaved: bool

    def load(self, image: Any, at: Any, lanes: int) -> Any:
        """So many input values, side by side from `at` on."""
        (found,) = vectors(image, at, [lanes])
        return found

    @abstractmethod
    def values(self, parts: list[Any], lanes: int) -> list[Any]:
        """What is multiplied, made once for all outputs that read it.

        Args:
            parts: Input values under each tap of a group, vectors of so many lanes.
        """

    @abstractmethod
    def widths(self, lanes: int) -> list[int]:
        """The lanes of each vector of sums."""

    @abstractmethod
    def weights(self, packed: Any, at: Any, lanes: int) -> list[Any]:
        """The weights of a group, for a vector of so many lanes.

        Args:
            packed: A flat buffer.
            at: Where they begin.
        """

    @abstractmethod
    def add(self, sums: list[Any], values: list[Any], weights: list[Any]) -> list[Any]:
        """The sums with the products added."""


@dataclass(frozen=True)
class InterleavedDots(TapProducts):
    """Dot products of the bytes of four taps, which are interleaved first.

    Args:
        dot: The instruction.
    """

    dot: DotProduct
    together: int = TOGETHER
    interleaved: bool = True

    def load(self, image: Any, at: Any, lanes: int) -> Any:
        if self.dot.values_first or lanes > TOGETHER:
            return super().load(image, at, lanes)
        return _twice(four(image, [at]))

    def values(self, parts: list[Any], lanes: int) -> list[Any]:
        if self.dot.values_first:
            return [_interleaved(parts, 0, lanes)]
        return [piece for first in range(0, lanes, 8) for piece in _zipped(parts, first, min(8, lanes))]

    def widths(self, lanes: int) -> list[int]:
        return [lanes] if self.dot.values_first else [4] * (lanes // 4)

    def weights(self, packed: Any, at: Any, lanes: int) -> list[Any]:
        return vectors(packed, at, [TOGETHER * width for width in self.widths(lanes)])

    def add(self, sums: list[Any], values: list[Any], weights: list[Any]) -> list[Any]:
        those = zip(sums, values, weights, strict=True)
        return [self.dot.add_each(total, value, weight, _lanes(total)) for total, value, weight in those]


@dataclass(frozen=True)
class WidenedProducts(TapProducts):
    """Products of 16 bits, added to sums of 32: weights within +-127 let one hold the sum of two if data are signed."""

    together: int
    interleaved: bool = False

    def values(self, parts: list[Any], lanes: int) -> list[Any]:
        return parts

    def widths(self, lanes: int) -> list[int]:
        return [lanes]

    def weights(self, packed: Any, at: Any, lanes: int) -> list[Any]:
        return vectors(packed, at, [lanes] * self.together)

    def add(self, sums: list[Any], values: list[Any], weights: list[Any]) -> list[Any]:
        (total,) = sums
        lanes = _lanes(total)
        products = [
            value.astype(f"int16x{lanes}") * weight.astype(f"int16x{lanes}")
            for value, weight in zip(values, weights, strict=True)
        ]
        return [total + sum(products[1:], products[0]).astype(f"int32x{lanes}")]


def products_by(dot: str, data: str) -> TapProducts:
    """The way of an instruction's name, over data of this type; by products of 16 bits where that is empty."""
    return InterleavedDots(DOT_PRODUCTS[dot]) if dot else WidenedProducts(2 if data == "int8" else 1)


def vectors(buffer: Any, first: Any, widths: list[int]) -> list[Any]:
    """Vectors of these widths, side by side in a buffer of one axis."""
    from tvm import tirx

    begins = (sum(widths[:i]) for i in range(len(widths)))
    return [tirx.BufferLoad(buffer, [tirx.Ramp(first + at, 1, n)]) for at, n in zip(begins, widths, strict=True)]


def _lanes(value: Any) -> int:
    return int(str(value.ty).partition("x")[2])


def _twice(value: Any) -> Any:
    """Four bytes, and the same again: a vector of four LLVM would widen to one of eight 16-bit numbers."""
    from tvm import tirx

    return tirx.call_intrin("int8x8", "tirx.reinterpret", tirx.Broadcast(value, 2))


def _zipped(parts: list[Any], first: int, count: int) -> list[Any]:
    """The bytes of four vectors channel by channel, four channels each, from the `first` on: pairs of bytes, then pairs
    of pairs, as Arm's `zip1` and `zip2` have them."""
    from tvm import tirx

    pairs = [_interleaved(parts[i : i + 2], first, count) for i in (0, 2)]
    halves = [tirx.call_intrin(f"int16x{count}", "tirx.reinterpret", pair) for pair in pairs]
    fours = [_interleaved(halves, i, 4) for i in range(0, count, 4)]
    return [tirx.call_intrin("int8x16", "tirx.reinterpret", four) for four in fours]


def _interleaved(parts: list[Any], first: int, count: int) -> Any:
    """Lanes of these vectors in turn, `count` of each from the `first` on."""
    from tvm import tirx

    size = _lanes(parts[0])
    return tirx.Shuffle(parts, [j * size + i for i in range(first, first + count) for j in range(len(parts))])
