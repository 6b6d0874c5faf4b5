"""Which blocks of output channels a direct convolution is shared out in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import prod

from pfir.backends.tvm.schedule.blocks import ENOUGH, Block, Direct, bordered
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane, most_rows
from pfir.target import SINGLE, Target
from pfir.workload import Workload

_MOST_SINGLES = 5
_MOST_ROWS = 14
# Multiply-adds of a run up to which LLVM writes out the loop over it, and spills single channels' values (Arm).
_WRITTEN_OUT = 400
# A second kind of blocks is code of its own, and has to save this much; so many blocks may be less than would fit.
_TWO_KINDS, _FEWER = 1.02, 3
# Accumulators of a tile over few channels on x86, whose next tiles then begin before it ends, as measured for 3x3.
_FEW = 8
_LATENCY = 4  # cycles of a multiply-add on x86
# Beside the multiply-adds: instructions (Arm) or cycles (x86) of a row of the result, of a tile, of a vector of
# results, of a single one.
_A_LINE = {"arm": 15, "x86": 40}
_A_TILE = {"arm": 60, "x86": 60}
_A_RESULT = {"arm": 3, "x86": 1}
_A_SINGLE = {"arm": 9, "x86": 3}


def covers(target: Target, workload: Workload) -> bool:
    """Whether the kernel can be made: it reads vectors of values where the core multiplies by a lane of a register, and
    writes vectors of channels."""
    if not (target.arm64 or target.triple.startswith("x86")) or workload.spread != (1, 1) or workload.dtype != SINGLE:
        return False
    wide = FEWEST_LANES if by_lane(target) else min(8, target.lanes)
    copied = not bordered(workload.order, workload.channels) or (workload.data[1] <= FEWEST_LANES and _beside(workload))
    return copied and _fewest(workload) >= FEWEST_LANES and workload.out[1] // workload.group >= wide


def _beside(workload: Workload) -> bool:
    """Whether the taps of a row of the kernel lie side by side."""
    return workload.group == 1 and workload.dilations[1] == 1


def _fewest(workload: Workload) -> int:
    """The fewest values side by side that a position reads."""
    return workload.channels * (
        workload.kernel[1] if bordered(workload.order, workload.channels) and _beside(workload) else 1
    )


def direct_plan(target: Target, workload: Workload) -> Direct:
    """The plan that takes the least time by the model of the core, of work that `covers` holds for."""
    return _plan(target, workload, _shapes(target, workload))[1]


def direct_plans(target: Target, workload: Workload) -> list[Direct]:
    """The preferred plan, then those without single channels and of fewer vectors."""
    most = _shapes(target, workload)
    fewer = [shape for shape in most if not shape[1]], [shape for shape in most if len(shape[0]) <= 2]
    return list(dict.fromkeys(_plan(target, workload, shapes)[1] for shapes in (most, *fewer)))


def direct_cost(target: Target, workload: Workload) -> float:
    """Instructions (Arm) or cycles (x86) of the preferred plan, of a kernel that `covers` the work."""
    return _plan(target, workload, _shapes(target, workload))[0] * workload.out[0] * workload.out[2] * workload.group


Shape = tuple[tuple[int, ...], int]


def _shapes(target: Target, workload: Workload) -> list[Shape]:
    """Vectors and single channels that a block may have."""
    lanes, arm = target.lanes, by_lane(target)
    vectors = [(lanes,) * n for n in range(1, 5)]
    if not arm and lanes // 2 >= FEWEST_LANES:
        vectors += [(lanes // 2,), (lanes, lanes, lanes // 2)]
    singles = (2 if arm else _MOST_SINGLES) if _fewest(workload) >= _steps(target, True) else 0
    return [(v, s) for v in vectors for s in range(singles + 1)]


def _steps(target: Target, singles: bool) -> int:
    """Input values that are unrolled: a vector of them where they come as one."""
    return min(8, target.lanes) if singles and not by_lane(target) else 4


def _plan(target: Target, workload: Workload, shapes: list[Shape]) -> tuple[float, Direct]:
    """The blocks, of at most two kinds, that cover the channels in the least time, and before them what they cost for a
    row of the result."""
    channels = workload.out[1] // workload.group
    priced = [
        (block, cost) for shape in shapes for block, cost in [_best(target, workload, shape)] if block is not None
    ]
    options = [option for first in priced for option in _covering(channels, first, priced)]
    cost, blocks = min(options, key=lambda option: option[0])
    steps = _steps(target, any(block.singles for block in blocks))
    return cost, Direct(blocks, steps, target.threads)


Priced = tuple[Block, float]


def _covering(channels: int, first: Priced, others: list[Priced]) -> Iterator[tuple[float, tuple[Block, ...]]]:
    """Blocks that cover the channels and what they cost: some of the first kind, then at most one other kind."""
    block, cost = first
    most = -(-channels // block.channels)
    for count in range(max(1, most - _FEWER), most + 1):
        done, begun = count * block.channels, (replace(block, count=count),)
        if done >= channels:
            if _fits_behind(block, done - block.channels, channels):
                yield count * cost, begun
            continue
        for other, price in others:
            more = -(-(channels - done) // other.channels)
            if other != block and _fits_behind(other, done + (more - 1) * other.channels, channels):
                yield (count * cost + more * price) * _TWO_KINDS, (*begun, replace(other, count=more))


def _fits_behind(block: Block, done: int, channels: int) -> bool:
    """Whether the block may come behind `done` channels: if too wide for what is left, it is the last, its last vector
    then overlaps the one before it, or is the only one of all."""
    left = channels - done
    if block.channels <= left:
        return True
    alone = done == 0 and len(block.lanes) == 1
    return not block.singles and left > sum(block.lanes[:-1]) and (alone or channels >= block.lanes[-1])


def _best(target: Target, workload: Workload, shape: Shape) -> tuple[Block | None, float]:
    """The block of a shape with as many rows as take the least time for a row of the result; None where it would not
    stay in registers."""
    columns, found = workload.out[3], []
    for most in range(1, min(columns, _most_rows(target, workload)) + 1):
        tiles = -(-columns // most)
        rows, more = divmod(columns, tiles)
        if _stays(target, workload, Block(*shape, rows + (more > 0))):
            cost = more * _cost(target, workload, Block(*shape, rows + 1)) if more else 0.0
            found.append((cost + (tiles - more) * _cost(target, workload, Block(*shape, rows)), rows + (more > 0)))
    if not found:
        return None, 0.0
    cost, rows = min(found)
    return Block(*shape, rows), cost + _A_LINE["arm" if by_lane(target) else "x86"]


def _most_rows(target: Target, workload: Workload) -> int:
    return min(_MOST_ROWS, most_rows(target, workload.data[1] * workload.strides[1]))


def _stays(target: Target, workload: Workload, block: Block) -> bool:
    """Whether accumulators and operands stay in registers (Arm: found by disassembly for generic code and the cores
    A53 and A76)."""
    vectors, singles, rows, registers = len(block.lanes), block.singles, block.rows, target.core.vector_registers
    held = block.copies(rows, _steps(target, singles > 0)) * vectors * rows + singles * rows
    if by_lane(target):
        run = workload.channels * workload.kernel[1]
        few = not singles or (rows <= 4 and vectors * rows * run > _WRITTEN_OUT)
        return few and held + vectors + rows <= registers - (4 if singles else 8)
    if workload.channels <= FEWEST_LANES and held > _FEW:
        return rows == 1
    if singles:
        return held + rows + 1 <= registers
    return held <= registers - 4 and (vectors == 1 or held + vectors + 1 <= registers)


def _cost(target: Target, workload: Workload, block: Block) -> float:
    """Instructions (Arm) or cycles (x86) of a whole tile."""
    vectors, singles, rows = len(block.lanes), block.singles, block.rows
    values, core = _taps(workload) * workload.channels, "arm" if by_lane(target) else "x86"
    each = _arm_step(vectors, singles, rows) if core == "arm" else _x86_step(target, block)
    ends = rows * (vectors * _A_RESULT[core] + singles * _A_SINGLE[core])
    return values * each + _A_TILE[core] + ends


@lru_cache(maxsize=64)
def _taps(workload: Workload) -> float:
    """The number of the kernel's taps that meet the image, on average over all positions."""
    if bordered(workload.order, workload.channels):
        return prod(workload.kernel)
    sizes = zip(
        workload.data[2:],
        workload.out[2:],
        workload.kernel,
        workload.strides,
        workload.dilations,
        workload.pads,
        strict=True,
    )
    return prod(
        sum(0 <= at * stride + tap * step - pad < size for at in range(out) for tap in range(kernel)) / out
        for size, out, kernel, stride, step, pad in sizes
    )


def _arm_step(vectors: int, singles: int, rows: int) -> float:
    """Instructions for one input value of each row; weights come in pairs of vectors, values in fours."""
    return max(vectors * rows, ENOUGH) + vectors / 2 + (singles * rows + rows + singles + 4) / 4


def _x86_step(target: Target, block: Block) -> float:
    """Cycles for one input value of each row. Two vectors of at most 256 bits are multiplied and two loaded a cycle;
    one or two vectors of channels take each row's value from memory, more share a register. Measured on Zen 4."""
    steps = _steps(target, True)
    rows, loads = block.rows, min(len(block.lanes), 2) if len(block.lanes) < 3 else 1
    multiplies = sum(_share(target, lanes) for lanes in block.lanes) + block.singles * _share(target, steps) / steps
    loaded = rows * loads / 2 + sum(block.lanes) / 16 + (block.singles and (rows + block.singles) / 2 / steps)
    return max(rows * multiplies, loaded, _LATENCY / block.copies(rows, steps))


def _share(target: Target, lanes: int) -> float:
    """Cycles of a multiply-add."""
    return max(2 * lanes, target.core.macs_per_cycle) / target.core.macs_per_cycle / 2
