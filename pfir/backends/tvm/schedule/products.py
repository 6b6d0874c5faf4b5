"""Which vectors of columns stand where in a matrix product with a constant right side: blocks of them, and their rows.

Vectors stand side by side; the last one ends with the last column: it overlaps the one before it, or is as narrow as
what is left where the tile is a narrowing one. On x86 two vectors of half the width take the time of a whole one, and
of the narrowest, from which no core gains, each holds two rows; behind the vectors of a dotted tile a single column is
summed across lanes of input channels. Fewer columns than lanes are one vector, the rest of which is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pfir.backends.tvm.schedule.tile_kinds import DottedTile, NarrowingTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, rest_rows


@dataclass(frozen=True)
class Vector:
    """Columns that are computed side by side.

    Args:
        first: The first column.
        lanes: Columns that it holds.
        columns: Of those the ones that there are.
        rows: How often it holds them, each for a row of its own.
    """

    first: int
    lanes: int
    columns: int
    rows: int = 1

    @property
    def width(self) -> int:
        """Values that are multiplied at once."""
        return self.lanes * self.rows

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """First lane and number of those that are written together, powers of two."""
        bits = [1 << bit for bit in reversed(range(self.columns.bit_length())) if self.columns >> bit & 1]
        return [(sum(bits[:i]), bit) for i, bit in enumerate(bits)]


@dataclass(frozen=True)
class Blocks:
    """Blocks alike, side by side.

    Args:
        vectors: Those of the first block.
        count: How many blocks there are.
        last: Where the last vector of the last one begins.
    """

    vectors: tuple[Vector, ...]
    count: int
    last: int

    @property
    def width(self) -> int:
        """Weights of a block for each input channel; from one block to the next as many columns."""
        return sum(vector.width for vector in self.vectors)

    def rows(self, rows: int, tile: ProductTile) -> int:
        """The rows of a tile over `rows` output positions; a block of fewer vectors than the tile has more rows."""
        vectors = len(self.vectors)
        if isinstance(tile, NarrowingTile):
            rows = min(rows, tile.rows * tile.vectors // vectors)
            return rows - rows % self.vectors[-1].rows
        return min(rows, tile.rows) if vectors == tile.vectors else rest_rows(rows, vectors, tile)


def plan(columns: int, tile: ProductTile) -> list[Blocks]:
    """Blocks of at most `tile.vectors` vectors that cover the columns."""
    alike = groupby(_blocks(columns, tile), lambda block: [(vector.lanes, vector.rows) for vector in block])
    runs = [list(blocks) for _, blocks in alike]
    return [Blocks(tuple(blocks[0]), len(blocks), blocks[-1][-1].first) for blocks in runs]


def pack(weight: np.ndarray, tile: ProductTile) -> np.ndarray:
    """`[I, O]` -> `[I, b]` for each block of b values, one after the other, flat; what is summed across lanes comes
    last, in whole vectors."""
    padded = np.pad(weight, ((0, 0), (0, tile.lanes)))
    columns = [
        [v.first + lane for v in block for _ in range(v.rows) for lane in range(v.lanes)]
        for block in _blocks(weight.shape[1], tile)
    ]
    last = [whole_vectors(weight[:, -1], FEWEST_LANES)] if isinstance(tile, DottedTile) else []
    return np.concatenate([*(padded[:, those].reshape(-1) for those in columns), *last])


def _blocks(columns: int, tile: ProductTile) -> list[list[Vector]]:
    found = vectors(columns - isinstance(tile, DottedTile), tile)
    return [found[i : i + tile.vectors] for i in range(0, len(found), tile.vectors)]


def vectors(columns: int, tile: ProductTile) -> list[Vector]:
    """All of them, from the first column to the last."""
    if columns < tile.lanes:
        return [Vector(0, tile.lanes, columns)]
    found = [Vector(first, tile.lanes, tile.lanes) for first in range(0, columns - tile.lanes + 1, tile.lanes)]
    if rest := columns % tile.lanes:
        lanes = max(FEWEST_LANES, 1 << (rest - 1).bit_length()) if isinstance(tile, NarrowingTile) else tile.lanes
        shared = lanes < tile.lanes == 2 * FEWEST_LANES
        found.append(Vector(columns - lanes, lanes, lanes, 2 if shared else 1))
    return found


def whole_vectors(weight: np.ndarray, lanes: int) -> np.ndarray:
    """`[I, ..]` -> so many lanes of inputs each; the last vector starts earlier and has zeros for what it shares with
    the one before."""
    whole, rest = divmod(len(weight), lanes)
    if not rest:
        return weight
    zeros = np.zeros((lanes - rest, *weight.shape[1:]), weight.dtype)
    return np.concatenate([weight[: whole * lanes], zeros, weight[whole * lanes :]])
