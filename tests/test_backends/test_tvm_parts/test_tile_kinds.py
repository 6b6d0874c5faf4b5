"""The text of every kind of tile is the one that databases of measured kernels hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pfir.backends.tvm.schedule.tile_kinds import (
    AcrossTile,
    ChannelTile,
    DepthwiseTile,
    DotsTile,
    DottedTile,
    MatrixTile,
    NarrowingTile,
    PlainTile,
)

TEXTS = {
    PlainTile(16): "tile 1 x 16 lanes x 1, 1 steps",
    ChannelTile(8, 6): "tile 1 x 8 lanes x 6, 1 steps",
    DepthwiseTile(4, 7): "tile 1 x 4 lanes x 7, 1 steps",
    DepthwiseTile(4, 7, 2, in_turn=True): "tile 1 x 4 lanes x 7 x 2 lines, 1 steps, rows in turn",
    AcrossTile(16, 2, 14): "tile 2 x 16 lanes x 14 across columns, 1 steps",
    DotsTile(4, 3, 2, 5): "tile 3 x 4 lanes x 2 of dots, 5 steps",
    MatrixTile(4, 4, 5, 8): "tile 4 x 4 lanes x 5, 8 steps",
    NarrowingTile(16, 3, 6, 4): "tile 3 x 16 lanes x 6 narrowing, 4 steps",
    DottedTile(4, 2, 4, 8): "tile 2 x 4 lanes x 4 narrowing, 8 steps",
}


@pytest.mark.parametrize("tile", TEXTS, ids=lambda tile: type(tile).__name__)
def test_a_tile_is_written_as_databases_have_it_whatever_its_threads(tile):
    assert str(tile) == str(replace(tile, threads=3)) == TEXTS[tile]


def test_tiles_of_two_kinds_are_never_equal():
    assert MatrixTile(4, 2, 4, 8) != NarrowingTile(4, 2, 4, 8) != DottedTile(4, 2, 4, 8)
