"""What a block of a direct convolution takes on x86: a model of the core, as measured on Zen 4."""

from __future__ import annotations

from functools import lru_cache
from math import prod

from pfir.backends.tvm.counts.convolutions.image import met
from pfir.backends.tvm.schedule.blocks import Block, Shape, bordered, steps_of
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, most_rows
from pfir.target import Target
from pfir.workload import Workload

_MOST_ROWS = 14
# Accumulators of a tile over few channels, whose next tiles then begin before it ends, as measured for 3x3.
_FEW = 8
_LATENCY = 4  # cycles of a multiply-add
# Cycles beside the multiply-adds, of a row of the result, of a tile, of a vector of results, of a single one.
_A_LINE, _A_TILE, _A_RESULT, _A_SINGLE = 40, 60, 1, 3


def best_block(target: Target, workload: Workload, shape: Shape) -> tuple[int, float] | None:
    """The rows of the tiles of a block that take the least time for a row of the result, and the cycles of that; None
    where it would not stay in registers."""
    columns, found = workload.out[3], []
    for most in range(1, min(columns, _most_rows(target, workload)) + 1):
        tiles = -(-columns // most)
        rows, more = divmod(columns, tiles)
        if _stays(target, workload, Block(*shape, rows + (more > 0))):
            cost = more * _cost(target, workload, Block(*shape, rows + 1)) if more else 0.0
            found.append((cost + (tiles - more) * _cost(target, workload, Block(*shape, rows)), rows + (more > 0)))
    if not found:
        return None
    cost, rows = min(found)
    return rows, cost + _A_LINE


def _most_rows(target: Target, workload: Workload) -> int:
    return min(_MOST_ROWS, most_rows(target, workload.data[1] * workload.strides[1]))


def _stays(target: Target, workload: Workload, block: Block) -> bool:
    """Whether accumulators and operands stay in registers."""
    vectors, singles, rows, registers = len(block.lanes), block.singles, block.rows, target.core.vector_registers
    held = block.copies(rows, steps_of(target, singles > 0)) * vectors * rows + singles * rows
    if workload.channels <= FEWEST_LANES and held > _FEW:
        return rows == 1
    if singles:
        return held + rows + 1 <= registers
    return held <= registers - 4 and (vectors == 1 or held + vectors + 1 <= registers)


def _cost(target: Target, workload: Workload, block: Block) -> float:
    """Cycles of a whole tile."""
    values = _taps(workload) * workload.channels
    ends = block.rows * (len(block.lanes) * _A_RESULT + block.singles * _A_SINGLE)
    return values * _step(target, block) + _A_TILE + ends


@lru_cache(maxsize=64)
def _taps(workload: Workload) -> float:
    """The number of the kernel's taps that meet the image, on average over all positions."""
    if bordered(workload.order, workload.channels):
        return prod(workload.kernel)
    return prod(met(axis) / axis.out for axis in axes_of(workload))


def _step(target: Target, block: Block) -> float:
    """Cycles for one input value of each row. Two vectors of at most 256 bits are multiplied and two loaded a cycle;
    one or two vectors of channels take each row's value from memory, more share a register. Measured on Zen 4."""
    steps = steps_of(target, True)
    rows, loads = block.rows, min(len(block.lanes), 2) if len(block.lanes) < 3 else 1
    multiplies = sum(_share(target, lanes) for lanes in block.lanes) + block.singles * _share(target, steps) / steps
    loaded = rows * loads / 2 + sum(block.lanes) / 16 + (block.singles and (rows + block.singles) / 2 / steps)
    return max(rows * multiplies, loaded, _LATENCY / block.copies(rows, steps))


def _share(target: Target, lanes: int) -> float:
    """Cycles of a multiply-add."""
    return max(2 * lanes, target.core.macs_per_cycle) / target.core.macs_per_cycle / 2
