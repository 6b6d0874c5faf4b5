"""Depthwise convolutions of few channels, several outputs a channel, or many taps: kernels/window.py, counted."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import pairs, share_of_vector
from pfir.backends.tvm.kernels.window import STRIP_BYTES
from pfir.backends.tvm.schedule.channel_tiles import channel_tile
from pfir.instructions import Instructions
from pfir.target import HALF, Target
from pfir.workload import Tail, Workload

_CALL, _TILE = (100.0, 50.0), (6.0, 1.2)  # scalar instructions and branches of a call, and of a tile
# Of a vector of the copy with a border: stores, scalar instructions and branches; where channels are repeated.
_BORDER, _BORDER_REPEATED = (0.9, 7.0, 2.7), (0.9, 1.5, 0.4)
# To put together a vector of pixels that several outputs read: vector instructions, loads and scalar ones.
_REPEATED, _REPEATED_HALF = (1.3, 0.8, 0.0), (5.2, 3.7, 3.7)


def window(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a convolution each of whose outputs reads one channel, with a copy of its input."""
    (batch, channels, height, width), (kh, kw) = workload.out, workload.kernel
    tile = channel_tile(target, width, channels)
    blocks, tiles = -(-channels // tile.lanes), -(-width // tile.rows)
    each = batch * blocks * height * tiles
    vectors = each * tile.rows
    copies, half = channels // workload.data[1], workload.dtype == HALF
    weights = each * pairs(kh * kw)
    under = each * kh * ((tile.rows - 1) * workload.strides[1] + (kw - 1) * workload.dilations[1] + 1)
    border = batch * blocks / copies * _copied(workload, tile.rows, tile.lanes)
    stores = batch * height * width * (channels // tile.lanes + (channels % tile.lanes).bit_count())
    share, size = share_of_vector(target, tile.lanes), tile.lanes * target.value_bytes
    multiplies = vectors * kh * kw * share
    put, loads, scalar = (
        (0.0, 0.5, 0.0) if copies % tile.lanes == 0 or copies == 1 else (_REPEATED_HALF if half else _REPEATED)
    )
    around = _BORDER if copies == 1 else _BORDER_REPEATED
    own = Instructions(
        multiply=0.0 if half else multiplies,
        half=multiplies if half else 0.0,
        vector=(vectors + put * under) * share,
        load=loads * under + weights + border,
        load_bytes=size * (under + 2 * weights + border),
        store=stores + around[0] * border,
        store_bytes=size * (stores + around[0] * border),
        scalar=each * _TILE[0] + scalar * under + border * around[1] + _CALL[0],
        branch=each * _TILE[1] + border * around[2] + _CALL[1],
    )
    return own + tail_of_vector(tail, size, workload.dtype) * (vectors * share)


def _copied(workload: Workload, rows: int, lanes: int) -> int:
    """Positions of the copies of one block: strips of as many rows as fill half of a small first-level cache."""
    height, width = workload.out[2:]
    columns = _reach(workload, 1, -(-width // rows) * rows)
    fitting = [
        n
        for n in range(1, height + 1)
        if height % n == 0 and prod((_reach(workload, 0, n), columns, lanes, 4)) <= STRIP_BYTES
    ]
    strip = max(fitting, default=1)
    return height // strip * _reach(workload, 0, strip) * columns


def _reach(workload: Workload, axis: int, outputs: int) -> int:
    """Rows or columns of input under so many of output."""
    return (outputs - 1) * workload.strides[axis] + (workload.kernel[axis] - 1) * workload.dilations[axis] + 1
