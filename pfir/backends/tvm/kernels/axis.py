"""Spatial axes of windows: which input positions each output reads, and tiles of outputs that read alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Axis:
    """Rows or columns of an image and of a result, under a kernel."""

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

    def runs(self, width: int) -> Iterator[Run]:
        """All outputs in tiles of `width`, and one of what is left; those side by side that read alike together."""
        tiles = [range(first, min(first + width, self.out)) for first in range(0, self.out, width)]
        for taps, run in groupby(tiles, lambda tile: tuple(map(self.inside, tile))):
            alike = list(run)
            yield Run(alike[0].start, len(alike), taps)


@dataclass(frozen=True)
class Run:
    """Tiles side by side.

    Args:
        first: Output of the first tile.
        count: Tiles.
        taps: Those that read the input, of each output of a tile.
    """

    first: int
    count: int
    taps: tuple[tuple[int, ...], ...]

    def start(self, tile: Any) -> Any:
        """The first output of a tile."""
        return self.first + tile * len(self.taps)
