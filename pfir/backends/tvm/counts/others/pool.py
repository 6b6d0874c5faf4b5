"""Maximum and average pools: kernels/pool.py, counted."""

from __future__ import annotations

from functools import lru_cache
from math import gcd

from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import share_of_vector
from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.pool import MOST_COLUMNS
from pfir.backends.tvm.schedule.channel_tiles import channel_tile
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.instructions import Instructions
from pfir.target import HALF, Target
from pfir.workload import Tail, Workload

# Scalar instructions and branches of a call and a row; of a tile whose rows are all inside, and more of one where the
# border may cut some off: for each row of the window.
_CALL, _ROW, _TILE, _CUT = (10.0, 2.0), (20.0, 3.0), (3.5, 1.0), (1.0, 0.9)
# Of maxima, copies for each column that is begun and for each result: what a select writes to is lost.
_COPIED, _FINISHED = 0.4, 1.0
# Bytes of a row up to which its pixels lie too close behind those of the next for a load; the share of them that do.
_NEAR, _BEHIND = 4096, 0.5
# From so many columns on, tiles that the border may cut put some of them on the stack: loads, stores and copies.
_CROWDED, _SPILLED = 12, (11.8, 10.3, 7.0)
_SPILLED_HALF = (5.0, 4.5, 2.5)  # of averages in float16, of which a vector is two of float32, wherever the tile lies


def pool(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a pool."""
    batch, channels, height, width = workload.out
    tile = channel_tile(target, width, channels)
    lanes = min(tile.lanes, 1 << (channels.bit_length() - 1))
    vectors, reach = -(-channels // lanes), (workload.kernel[1] - 1) * workload.dilations[1] + 1
    columns = min(tile.rows, max(1, (MOST_COLUMNS - reach) // workload.strides[1] + 1))
    rows, cut, tiles, begun, combined, crowded = _geometry(*axes_of(workload), columns)
    each, size, share = batch * vectors, lanes * target.value_bytes, share_of_vector(target, lanes)
    pixels, results = each * rows * begun, each * height * width
    cells = each * height * combined
    if workload.kind == "average":
        # Sums are of float32: a vector of float16 is as many as its lanes fill, each of which is converted.
        wide = max(1, 4 * lanes // target.core.vector_bytes)
        converted = wide if workload.dtype == HALF else 0
        vector: float = pixels * (wide + converted) + cells * wide + results * (wide + converted)
    else:
        vector = pixels * 2 + each * height * begun * _COPIED + cells * 2 + (min(results, cells / 2) * _FINISHED)
    wider = workload.kind == "average" and workload.dtype == HALF and target.arm64
    spilled = each * height * crowded if wider or (cut and workload.kind == "max") else 0
    spills = _SPILLED_HALF if wider else _SPILLED
    scalar, branch = (
        _CALL[i]
        + batch * height * _ROW[i]
        + each * height * tiles * (_TILE[i] + (_CUT[i] * workload.kernel[0] if cut else 0.0))
        for i in (0, 1)
    )
    if target.arm64 and channels % lanes:
        scalar += pixels * _addressed(channels * target.value_bytes, size, workload.pads[0] / workload.kernel[0])
    if cut and channels * workload.data[3] * target.value_bytes < _NEAR:
        scalar += each * height * begun * _BEHIND
    own = Instructions(
        vector=(vector + spilled * spills[2]) * share,
        load=pixels + spilled * spills[0],
        load_bytes=size * (pixels + spilled * spills[0]),
        store=results + spilled * spills[1],
        store_bytes=size * (results + spilled * spills[1]),
        scalar=scalar,
        branch=branch,
    )
    return own + tail_of_vector(tail, size, workload.dtype) * (results * share)


def _addressed(apart: int, size: int, before: float) -> float:
    """The share of pixels whose address an instruction has to compute, where columns do not lie whole vectors apart:
    those of rows before a window's own, a share `before`, as offsets are not negative; of others those whose offset is
    no multiple of a vector's size."""
    return before + (1 - before) * (1 - gcd(apart, size) / size)


@lru_cache(maxsize=1024)
def _geometry(down: Axis, along: Axis, width: int) -> tuple[int, bool, int, int, int, int]:
    """Of one vector of channels: rows of windows inside the image, and whether the border cuts any; of a row of results
    its tiles, columns that are begun, columns that are combined with others, and tiles that hold too many."""
    inside = [len(down.inside(output)) for output in range(down.out)]
    tiles = begun = combined = crowded = 0
    for run in along.runs(width):
        under = {i * along.stride + k * along.step for i, taps in enumerate(run.taps) for k in taps}
        tiles += run.count
        begun += run.count * len(under)
        combined += run.count * sum(max(0, len(taps) - 1) for taps in run.taps)
        crowded += run.count * (len(under) >= _CROWDED)
    return sum(inside), min(inside) < down.kernel, tiles, begun, combined, crowded
