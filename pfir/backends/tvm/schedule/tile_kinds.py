"""The kinds of register tiles: what the inner loop of a kernel holds in registers, a type for each way to share it out.

A tile's text is what a database of measured kernels keeps; equal texts stand for equal code, threads apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

_ENOUGH = 8  # accumulators that hide the latency of a multiply-add: four cycles on two pipes
_NARROWEST = 4  # lanes of an accumulator


class Tile(ABC):
    """A share of a kernel's work that stays in registers: vectors of `lanes` values; `threads` share the tiles."""

    lanes: int
    threads: int

    @abstractmethod
    def __str__(self) -> str:
        """All that decides the kernel but its threads, in words that a database keeps."""


@dataclass(frozen=True)
class PlainTile(Tile):
    """A vector of elements, each computed on its own."""

    lanes: int
    threads: int = 1

    def __str__(self) -> str:
        return _text(1, self.lanes, 1)


@dataclass(frozen=True)
class ChannelTile(Tile):
    """One vector of channels that do not mix, by `rows` output positions: a pool's, or another window's.

    Args:
        lanes: Channels of the vector.
        rows: Output positions side by side.
        threads: Those that share the kernel's outer loops.
    """

    lanes: int
    rows: int
    threads: int = 1

    @property
    def block(self) -> int:
        """Output channels computed together."""
        return self.lanes

    def __str__(self) -> str:
        return _text(1, self.lanes, self.rows)


@dataclass(frozen=True)
class DepthwiseTile(Tile):
    """One vector of channels by a rectangle of output positions, which shares the input rows under it.

    Args:
        lanes: Channels of the vector.
        rows: Output positions of a line.
        lines: Lines of output positions.
        in_turn: Whether no input row is loaded before the one above it is used.
        threads: Those that share the kernel's outer loops.
    """

    lanes: int
    rows: int
    lines: int = 1
    in_turn: bool = False
    threads: int = 1

    @property
    def block(self) -> int:
        """Output channels computed together."""
        return self.lanes

    def __str__(self) -> str:
        lines = f" x {self.lines} lines" if self.lines > 1 else ""
        return _text(1, self.lanes, self.rows, lines) + (", rows in turn" if self.in_turn else "")


@dataclass(frozen=True)
class AcrossTile(Tile):
    """A strip of a depthwise convolution whose vectors run on across columns.

    Args:
        lanes: Values of a vector, of one column and the next.
        vectors: Vectors, whole columns apart, that share the weights.
        rows: Rows of the image that the strip goes down.
        threads: Those that share the kernel's outer loops.
    """

    lanes: int
    vectors: int
    rows: int
    threads: int = 1

    def __str__(self) -> str:
        return _text(self.vectors, self.lanes, self.rows, " across columns")


@dataclass(frozen=True)
class DotsTile(Tile):
    """Dot products: vectors lie along the input channels, as there are too few outputs to fill one.

    Args:
        lanes: Input channels of a vector.
        outputs: Output channels, all that there are.
        rows: Output positions that share the weights.
        copies: Sums of each output that take turns.
        threads: Those that share the kernel's outer loops.
    """

    lanes: int
    outputs: int
    rows: int
    copies: int
    threads: int = 1

    def __str__(self) -> str:
        return _text(self.outputs, self.lanes, self.rows, " of dots", self.copies)


@dataclass(frozen=True)
class ProductTile(Tile):
    """The accumulators of a matrix product, `rows` x `vectors` registers; its kinds differ in the last output channels.

    Args:
        lanes: Output channels of a vector.
        vectors: Vectors of output channels.
        rows: Output positions.
        unroll: Input channels whose step is unrolled.
        threads: Those that share the kernel's outer loops.
    """

    lanes: int
    vectors: int
    rows: int
    unroll: int
    threads: int = 1

    @property
    def block(self) -> int:
        """Output channels computed together."""
        return self.lanes * self.vectors


@dataclass(frozen=True)
class MatrixTile(ProductTile):
    """All vectors are whole: the last one overlaps the one before it, or is padded."""

    def __str__(self) -> str:
        return _text(self.vectors, self.lanes, self.rows, steps=self.unroll)


@dataclass(frozen=True)
class NarrowingTile(ProductTile):
    """The last vector is as narrow as what is left of the channels; of the narrowest, two rows share a register."""

    def __str__(self) -> str:
        return _text(self.vectors, self.lanes, self.rows, " narrowing", self.unroll)


@dataclass(frozen=True)
class DottedTile(ProductTile):
    """All vectors are whole, and the one channel behind them is summed across lanes of input channels."""

    def __str__(self) -> str:
        # Databases tell it from a narrowing tile by its lanes, of which that one has more.
        return _text(self.vectors, self.lanes, self.rows, " narrowing", self.unroll)


@dataclass(frozen=True)
class SparseTile(Tile):
    """A block of output channels, of whose weights only those are multiplied that are not zero for all of them.

    Args:
        lanes: Output channels of a block.
        rows: Output positions that share the weights.
        unroll: Input channels of a round.
        threads: Those that share the kernel's outer loop.
    """

    lanes: int
    rows: int
    unroll: int
    threads: int = 1

    @property
    def copies(self) -> int:
        """Sums of each output that take turns: enough to hide the latency of a multiply-add."""
        return min(self.unroll, -(-_ENOUGH * _NARROWEST // (self.rows * self.lanes)))

    def __str__(self) -> str:
        return _text(1, self.lanes, self.rows, " skipping zeros", self.unroll)


def _text(vectors: int, lanes: int, rows: int, how: str = "", steps: int = 1) -> str:
    return f"tile {vectors} x {lanes} lanes x {rows}{how}, {steps} steps"
