"""Instructions of a convolution by Winograd's algorithm (kernels/winograd): transforms, products at points, and back.

Vector instructions, loads and stores follow from what the generators write; scalar instructions and branches from
constants of each level of loops. All constants were found by reading disassembly and by counting the rounds of each
loop under the emulator, for generic 64-bit code, at 4 to 64 channels and 7 to 32 rows; the grid winograd of
benchmarks/estimator checks them.
"""

from __future__ import annotations

from pfir.backends.tvm.counts.convolutions.points import points
from pfir.backends.tvm.counts.convolutions.transforms import After, Geometry, back, there
from pfir.backends.tvm.counts.sums import Registers, Sum, is_half, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import ProductTile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Counted, of a call more than one of a kernel with a single input takes: loads, stores, scalar, branches.
_CALL = (180.0, 160.0, 350.0, 215.0)


def winograd(target: Target, workload: Workload, tail: Tail, plan: Winograd) -> Instructions:
    """The instructions of a 3x3 convolution by this plan."""
    registers, at = registers_of(target), geometry(workload, plan.outputs, plan.strip, plan.lanes)
    found = Sum()
    found.add(there(registers, at, workload.data[1]))
    found.add(tiled_products(registers, at, workload.data[1], workload.out[1], plan.tile))
    found.add(back(registers, at, workload.out[1], plan.tile.block, after(tail)))
    found.call(*_CALL)
    return found.instructions(is_half(target))


def geometry(workload: Workload, outputs: int, strip: int, lanes: int) -> Geometry:
    """The image of a convolution in tiles."""
    (batch, _, height, width), (_, _, rows, columns) = workload.out, workload.data
    return Geometry(outputs, strip, batch, height, width, rows, columns, *workload.pads, lanes)


def tiled_products(registers: Registers, at: Geometry, channels_in: int, channels_out: int, tile: ProductTile) -> Sum:
    """The products at all points by a register tile."""
    tiles = at.strip * at.across
    rows, strips = min(tile.rows, tiles), at.batch * at.down / at.strip
    whole, rest = divmod(tiles, rows)
    groups = (rows, strips * whole), (rest, strips)
    return points(registers, at.side, channels_in, channels_out, groups, tile)


def after(tail: Tail) -> After:
    """What a tail asks for of each vector of results."""
    one = tail_of_vector(tail, 1)
    return After(tail.bias, one.vector, tail.reads)
