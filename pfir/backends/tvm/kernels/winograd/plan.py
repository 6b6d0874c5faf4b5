"""The sizes of a kernel by Winograd's algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.written import narrowed
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import NarrowingTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES

KERNEL = 3
# A row of this many bytes would put the same place of each tile into the same few lines of a first-level cache.
_ALIASING, _ASIDE = 2048, 16


@dataclass(frozen=True)
class Vector:
    """A register of sums.

    Args:
        at: The first of its output channels in the block.
        lanes: Of all its rows.
        rows: Tiles that share it.
    """

    at: int
    lanes: int
    rows: int = 1

    @property
    def width(self) -> int:
        """Channels."""
        return self.lanes // self.rows


@dataclass(frozen=True)
class Plan:
    """The sizes of a kernel."""

    spec: KernelSpec
    tile: ProductTile

    @property
    def dtype(self) -> str:
        """Of the points of the image."""
        return self.spec.dtype

    @property
    def sums(self) -> str:
        """The type of the products' sums."""
        return self.dtype

    @property
    def border(self) -> Any:
        """What stands around the image."""
        return const(0, self.dtype)

    def outside(self, line: Any) -> Any:
        """The point of a column that lies outside the image, in a line of points."""
        return self.border

    def value(self, pixel: Any) -> Any:
        """A value of the image as the transforms read it."""
        return pixel

    @property
    def m(self) -> int:
        return self.spec["outputs"]

    @property
    def side(self) -> int:
        """Rows and columns of input under a tile."""
        return self.m + KERNEL - 1

    @property
    def points(self) -> int:
        return self.side**2

    @property
    def channels(self) -> int:
        return self.spec.operands[0].shape[1]

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.spec.out.shape[3] // self.m)

    @property
    def down(self) -> int:
        return -(-self.spec.out.shape[2] // self.m)

    @property
    def strips(self) -> int:
        return self.down // self.spec["strip"]

    @property
    def tiles(self) -> int:
        """Tiles of a strip."""
        return self.spec["strip"] * self.across

    @property
    def rows(self) -> int:
        """Tiles multiplied together."""
        return min(self.tile.rows, self.tiles)

    @property
    def width(self) -> int:
        """Columns of input under a row of tiles."""
        return self.across * self.m + KERNEL - 1

    @property
    def filled(self) -> tuple[int, int]:
        """The columns under a row of tiles that the input fills."""
        left, width = self.spec["pads"][1], self.spec.operands[0].shape[3]
        return max(0, left), min(self.width, left + width)

    @property
    def wide(self) -> int:
        """Lanes of the input's transform."""
        return self.spec["lanes"] * self.spec["abreast"]

    @property
    def passes(self) -> tuple[tuple[int, ...], ...]:
        """Rows of a tile of the result that are transformed back at a time: those that share terms, where all together
        would not stay in registers."""
        whole = tuple(range(self.m))
        return (whole[::2], whole[1::2]) if self.spec["by_lane"] and self.m > 2 else (whole,)

    @property
    def depth(self) -> int:
        """Channels of a transformed tile; fewer than a vector are rounded up to a power of two."""
        return self.channels if self.channels >= self.wide else 1 << (self.channels - 1).bit_length()

    @property
    def line(self) -> int:
        """Values of a line of input under a row of tiles, and what the last vector reads beyond it."""
        return self.width * self.channels + self.depth - self.channels

    @property
    def row(self) -> int:
        """Values from one transformed tile to the next."""
        values = self.points * self.depth
        return values + (_ASIDE if values * 4 % _ALIASING == 0 else 0)

    def vectors(self, channels: int, rows: int) -> tuple[Vector, ...]:
        """The vectors that hold `channels` channels of a block for `rows` tiles: whole ones, the last as narrow as what
        is left and whole lanes allow. By a narrowing tile, two tiles of an even number share what fewest lanes are
        left."""
        lanes, shares = self.tile.lanes, isinstance(self.tile, NarrowingTile) and rows % 2 == 0
        if shares:
            last = (channels - 1) // FEWEST_LANES * FEWEST_LANES
            return (*self.vectors(last, 1), Vector(last, 2 * FEWEST_LANES, 2))
        return tuple(Vector(at, narrowed(lanes, channels - at)) for at in range(0, channels, lanes))

    def spot(self, tile: Any, point: Any) -> Any:
        """Where the products of one of the tiles that are multiplied together begin, at a point. Those of one point lie
        together where a single instruction stores two registers side by side."""
        if self.spec["by_lane"]:
            return (point * self.rows + tile) * self.tile.block
        return (tile * self.points + point) * self.tile.block
