"""Tiles of pools over integers of eight bits."""

from __future__ import annotations

from dataclasses import replace

from pfir.backends.tvm.schedule.tile_kinds import ChannelTile
from pfir.target import Target

_COLUMNS = 7  # of the input: each takes two registers of sums of 16 bits


def integer_tile(target: Target, tile: ChannelTile, kernel: int, stride: int, step: int) -> ChannelTile:
    """The tile of an average with a whole vector of bytes, and with as few columns as stay in registers.

    Args:
        kernel, stride, step: Of the window along a row.
    """
    reach = (kernel - 1) * step + 1
    rows = min(tile.rows, max(1, (_COLUMNS - reach) // stride + 1))
    return replace(tile, lanes=target.core.vector_bytes, rows=rows)
