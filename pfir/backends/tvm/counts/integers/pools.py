"""Instructions of pools and means over integers of eight bits."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.integers.elements import floats_to_bytes
from pfir.backends.tvm.counts.others.pool import geometry
from pfir.backends.tvm.counts.sums import along
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.kernels.integers.others.means import TERMS, WRITTEN_OUT
from pfir.backends.tvm.kernels.pool import MOST_COLUMNS
from pfir.backends.tvm.schedule.channel_tiles import channel_tile
from pfir.backends.tvm.schedule.integers.dot_blocks import stored
from pfir.backends.tvm.schedule.integers.pools import integer_tile
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Scalar instructions and branches of a call, a row of results, a tile, and a round over positions.
_CALL, _ROW, _TILE, _ROUND = (10.0, 2.0), (20.0, 3.0), (2.0, 1.0), (2.0, 1.0)
_FOLLOWED = 33.0  # vector instructions of four integers that a tail follows, beside the tail's own
_COUNTED = 1  # scalar instructions that tell by what an average is divided


def pool_int8(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a pool: the largest integers, or sums of 16 bits that are divided as floats."""
    batch, channels, height, width = workload.out
    tile, (kernel, stride, step) = channel_tile(target, width, channels), _across(workload)
    average = workload.kind == "average"
    tile = integer_tile(target, tile, kernel, stride, step) if average else tile
    columns = min(tile.rows, max(1, (MOST_COLUMNS - (kernel - 1) * step - 1) // stride + 1))
    rows, _, tiles, begun, combined, _ = geometry(*axes_of(workload), columns)
    found = _steering(batch, height, tiles)
    for lanes, count in along(channels, target.core.vector_bytes, FEWEST_LANES):
        added = _added(target, lanes) if average else 1
        finished = floats_to_bytes(target, lanes, tail) + _scaled(target, lanes) if average else _stored(lanes)
        if tail.operators and not average:
            vectors_of_floats = max(1.0, 4 * lanes / target.core.vector_bytes)
            followed = tail_of_vector(tail, target.core.vector_bytes) + Instructions(vector=_FOLLOWED)
            finished += followed * vectors_of_floats
        # The largest of a first row is that row.
        each = rows if average else rows - height
        vectors = each * begun * added + height * combined * (2 if average and lanes > _half(target) else 1)
        pixels = Instructions(vector=vectors, load=rows * begun, load_bytes=lanes * rows * begun)
        steering = Instructions(scalar=_TILE[0], branch=_TILE[1]) * (height * tiles)
        found += (pixels + finished * (height * width) + steering) * (batch * count)
    return found


def mean_int8(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a mean over all positions."""
    batch, channels, *image = workload.data
    positions, found = prod(image), Instructions(scalar=_CALL[0], branch=_CALL[1])
    parts = -(-positions // TERMS[stored(target)])
    for lanes, count in along(channels, target.core.vector_bytes, FEWEST_LANES):
        each = Instructions(vector=_added(target, lanes), load=1, load_bytes=lanes) * positions
        rounds = Instructions(scalar=_ROUND[0], branch=_ROUND[1]) * (positions / WRITTEN_OUT)
        widened = Instructions(vector=2 * _scaled(target, lanes).vector / 3) * parts
        finished = floats_to_bytes(target, lanes, tail) + _scaled(target, lanes)
        found += (each + rounds + widened + finished) * (batch * count)
    return found


def _across(workload: Workload) -> tuple[int, int, int]:
    """The window along a row: kernel, stride, step."""
    return workload.kernel[1], workload.strides[1], workload.dilations[1]


def _steering(batch: int, height: int, tiles: int) -> Instructions:
    scalar, branch = (_CALL[i] + batch * height * (_ROW[i] + tiles) for i in (0, 1))
    return Instructions(scalar=scalar, branch=branch)


def _half(target: Target) -> int:
    return target.core.vector_bytes // 2


def _added(target: Target, lanes: int) -> float:
    """What adds a vector of bytes to sums of 16 bits: on x86 the bytes are widened first."""
    vectors = 2 if lanes > _half(target) else 1
    return vectors if by_lane(target) else 2 * vectors


def _scaled(target: Target, lanes: int) -> Instructions:
    """What makes numbers of sums: less zero, conversion, a product."""
    vectors = max(1.0, 4 * lanes / target.core.vector_bytes)
    return Instructions(vector=3 * vectors, scalar=_COUNTED)


def _stored(lanes: int) -> Instructions:
    return Instructions(store=1, store_bytes=lanes)
