"""Spatial axes of windows: which input positions each output reads, and tiles of outputs that read alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

# Of each output of a tile, the taps that read the input; of a single one those that `Axis.span` tells when it runs.
Taps = tuple[tuple[int, ...], ...]
LOOPED: Taps = ((),)
# Taps side by side that read the input for the same outputs of a tile: the first one, how many, and those outputs,
# counted from the tile's first.
Stretches = tuple[tuple[int, int, tuple[int, ...]], ...]


class Axis(NamedTuple):
    """The rows, or the columns, of an image and of what a window computes from it; short to hash.

    Args:
        size, out: Of the image, and of the result.
        kernel: Taps of the window.
        stride, step: Of the window, and from one of its taps to the next.
        pad: In front of the image.
    """

    size: int
    out: int
    kernel: int
    stride: int
    step: int
    pad: int

    @property
    def copied(self) -> Axis:
        """The same over a copy of the image with its border, no larger than what some tap reads."""
        return self._replace(size=(self.out - 1) * self.stride + (self.kernel - 1) * self.step + 1, pad=0)

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
        """As `runs`, in `balanced` tiles of at most so many outputs."""
        yield from self._alike(self.balanced(most))

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

    def balanced(self, most: int, unit: int = 1) -> list[range]:
        """All outputs in as few tiles of at most so many as there can be, all of nearly as many units, the very last of
        which may not be whole."""
        count = -(-self.out // most)
        width, more = divmod(-(-self.out // unit), count)
        firsts = [unit * (i * width + min(i, more)) for i in range(count)]
        return list(map(range, firsts, [*firsts[1:], self.out]))

    def stretches(self, tile: range) -> Stretches:
        """The taps under a tile of outputs; one that reads no input for any of them is left out."""

        def readers(tap: int) -> tuple[int, ...]:
            return tuple(i for i, output in enumerate(tile) if 0 <= self.at(output, tap) < self.size)

        runs = [(who, list(run)) for who, run in groupby(range(self.kernel), readers)]
        return tuple((run[0], len(run), who) for who, run in runs if who)

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
