"""Spatial axes of windows: which input positions each output reads, and tiles of outputs that read alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

# Of each output of a tile, the taps that read the input; of a single one those that `Axis.span` tells when it runs.
Taps = tuple[tuple[int, ...], ...]
LOOPED: Taps = ((),)


@dataclass(frozen=True)
class Axis:
    """The rows, or the columns, of an image and of what a window computes from it."""

    size: int
    out: int
    kernel: int
    stride: int
    step: int
    pad: int

    def at(self, position: Any, tap: Any) -> Any:
        """The input position that a tap of an output reads."""
        return position * self.stride + tap * self.step - self.pad

    def inside(self, position: int) -> tuple[int, ...]:
        """The taps of an output that read the input."""
        return tuple(k for k in range(self.kernel) if 0 <= self.at(position, k) < self.size)

    def span(self, position: Any) -> tuple[Any, Any]:
        """The first tap of an output that reads the input, and the one behind the last, as expressions."""
        from tvm import tirx

        before = self.pad - position * self.stride + self.step - 1
        return tirx.max(0, before // self.step), tirx.min(self.kernel, (self.size + before) // self.step)

    def runs(self, width: int) -> Iterator[TileRun]:
        """All outputs in tiles of `width` and one of what is left; tiles side by side that read alike are one run."""
        yield from self._alike(self._tiles(width))

    def even_runs(self, most: int) -> Iterator[TileRun]:
        """As `runs`, in as few tiles of at most so many outputs as there can be, all of nearly as many."""
        count = -(-self.out // most)
        ends = [self.out * i // count for i in range(count + 1)]
        yield from self._alike([range(first, end) for first, end in pairwise(ends)])

    def looped(self, width: int) -> Iterator[TileRun]:
        """All outputs as in `runs`, but each by itself where a tile is narrower or lacks taps."""
        whole = (tuple(range(self.kernel)),) * width
        for alike, run in groupby(self._tiles(width), lambda tile: tuple(map(self.inside, tile)) == whole):
            outputs = [output for tile in run for output in tile]
            yield (
                TileRun(outputs[0], len(outputs) // width, whole)
                if alike
                else TileRun(outputs[0], len(outputs), LOOPED)
            )

    def _alike(self, tiles: list[range]) -> Iterator[TileRun]:
        """The tiles, those side by side that read alike as one run."""
        for taps, run in groupby(tiles, lambda tile: tuple(map(self.inside, tile))):
            alike = list(run)
            yield TileRun(alike[0].start, len(alike), taps)

    def _tiles(self, width: int) -> list[range]:
        return [range(first, min(first + width, self.out)) for first in range(0, self.out, width)]


@dataclass(frozen=True)
class TileRun:
    """Tiles side by side that read the same taps.

    Args:
        first: Output of the first tile.
        count: Tiles.
        taps: The taps that each of the tiles reads.
    """

    first: int
    count: int
    taps: Taps

    def start(self, tile: Any) -> Any:
        """The first output of a tile."""
        return self.first + tile * len(self.taps)
