"""Which blocks of output channels a direct convolution is shared out in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pfir.backends.tvm.counts.convolutions.block import of_ends, of_sums, results_of
from pfir.backends.tvm.counts.convolutions.direct import direct
from pfir.backends.tvm.counts.convolutions.image import Image, image_of
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.schedule.blocks import STEPS, Block, Direct, Shape, bordered, steps_of
from pfir.backends.tvm.schedule.coverings import Coverings, coverings
from pfir.backends.tvm.schedule.direct_x86 import best_block
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane
from pfir.cores import Costs
from pfir.instructions import NOTHING, Instructions
from pfir.target import SINGLE, Target
from pfir.workload import Tail, Workload

_MOST_SINGLES = {"arm": 2, "x86": 5}
_MOST_ROWS = 14
# Multiply-adds of a run up to which LLVM writes out the loop over it, and spills single channels' values (Arm).
_WRITTEN_OUT = 400
# On x86 a second kind of blocks has to save this much.
_TWO_KINDS = 1.02
# Cycles by class are fitted, instructions are counted: a choice may take so many more of them.
_HARDLY_MORE = 1.01
# More cycles than any kernel takes, of blocks that do not stay in registers.
_NEVER = 1e300
# Vector instructions of what follows a vector of results, in a choice.
_AFTER = 1

Rows = tuple[int, ...]


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
    return _plan(target, workload, _shapes(target, workload))


def direct_plans(target: Target, workload: Workload) -> list[Direct]:
    """The preferred plan, then those without single channels and of fewer vectors."""
    most = _shapes(target, workload)
    fewer = tuple(shape for shape in most if not shape[1]), tuple(shape for shape in most if len(shape[0]) <= 2)
    return list(dict.fromkeys(_plan(target, workload, shapes) for shapes in (most, *fewer)))


def direct_cycles(target: Target, workload: Workload) -> float:
    """Cycles of the preferred plan on Arm, of a kernel that `covers` the work and begins with a bias."""
    return target.core.costs.cycles(direct(target, workload, Tail(bias=True), direct_plan(target, workload)))


def _shapes(target: Target, workload: Workload) -> tuple[Shape, ...]:
    """Vectors and single channels that a block may have."""
    core = "arm" if by_lane(target) else "x86"
    return _shapes_of(
        target.lanes, by_lane(target), _MOST_SINGLES[core] if _fewest(workload) >= steps_of(target, True) else 0
    )


@lru_cache
def _shapes_of(lanes: int, arm: bool, singles: int) -> tuple[Shape, ...]:
    vectors = [(lanes,) * n for n in range(1, 5)]
    if not arm and lanes // 2 >= FEWEST_LANES:
        vectors += [(lanes // 2,), (lanes, lanes, lanes // 2)]
    return tuple((v, s) for v in vectors for s in range(singles + 1))


def _plan(target: Target, workload: Workload, shapes: tuple[Shape, ...]) -> Direct:
    """The blocks, of at most two kinds, that cover the channels in the least time."""
    ways = coverings(workload.out[1] // workload.group, shapes)
    rows, way = (_counted if by_lane(target) else _measured)(target, workload, shapes, ways)
    blocks = tuple(Block(*shapes[i], rows[i], count) for i, count in ways.kinds(way))
    return Direct(blocks, steps_of(target, any(block.singles for block in blocks)), target.threads)


def _counted(target: Target, workload: Workload, shapes: tuple[Shape, ...], ways: Coverings) -> tuple[Rows, int]:
    """The rows of each shape's tiles, and the way that takes the fewest cycles on Arm, of those that take hardly more
    than the fewest instructions."""
    image, costs = image_of(target, workload, True), target.core.costs
    rows, cycles, numbers = _sums(image, workload.channels, costs, shapes)
    more_cycles, more = _ends(image, workload.out[1] % target.lanes, costs, shapes, rows)
    found = ways.prices(numbers + more)
    few = found <= _HARDLY_MORE * found.min()
    return rows, int(np.where(few, ways.prices(cycles + more_cycles), np.inf).argmin())


@lru_cache(maxsize=1 << 14)
def _sums(image: Image, inner: int, costs: Costs, shapes: tuple[Shape, ...]) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Of a block of each shape the rows of its tiles, as many as stay in registers, and the cycles and instructions of
    its sums."""
    run, held = min(inner * image.columns.kernel, _WRITTEN_OUT + 1), image.registers.held
    rows = tuple(_most_columns(image.columns, held, run, shape) for shape in shapes)
    found = [
        of_sums(image, inner, *shape, most, STEPS).instructions(False) if most else None
        for shape, most in zip(shapes, rows, strict=True)
    ]
    return rows, *_priced(costs, found)


@lru_cache(maxsize=1 << 12)
def _ends(image: Image, odd: int, costs: Costs, shapes: tuple[Shape, ...], rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """The cycles and instructions of what is beside the sums of a block of each shape."""
    found = [_ended(image, odd, shape, most) if most else NOTHING for shape, most in zip(shapes, rows, strict=True)]
    return _priced(costs, found)


def _ended(image: Image, odd: int, shape: Shape, rows: int) -> Instructions:
    """What is beside the sums of a block, with what follows them."""
    found = Sum()
    found.add(of_ends(image, odd, *shape, rows, STEPS))
    found.compute(results_of(image, *shape), 0, _AFTER)
    return found.instructions(False)


def _priced(costs: Costs, found: Sequence[Instructions | None]) -> tuple[np.ndarray, np.ndarray]:
    cycles = [_NEVER if each is None else costs.cycles(each) for each in found]
    return np.array(cycles), np.array([_NEVER if each is None else each.total for each in found])


@lru_cache(maxsize=1 << 12)
def _most_columns(axis: Axis, registers: int, run: int, shape: Shape) -> int:
    """The columns of tiles, as equal as they come, of which a block's accumulators and operands stay in registers
    (found by disassembly for generic code and the cores A53 and A76); 0 where none do."""
    for most in range(min(axis.out, _MOST_ROWS), 0, -1):
        columns = -(-axis.out // -(-axis.out // most))
        if _stays_on_arm(registers, run, Block(*shape, columns)):
            return columns
    return 0


def _stays_on_arm(registers: int, run: int, block: Block) -> bool:
    vectors, singles, rows = len(block.lanes), block.singles, block.rows
    held = block.copies(rows, STEPS) * vectors * rows + singles * rows
    few = not singles or (rows <= 4 and vectors * rows * run > _WRITTEN_OUT)
    return few and held + vectors + rows <= registers - (4 if singles else 8)


def _measured(target: Target, workload: Workload, shapes: tuple[Shape, ...], ways: Coverings) -> tuple[Rows, int]:
    """The rows of each shape's tiles, and the way that takes the least time on x86."""
    best = [best_block(target, workload, shape) or (0, _NEVER) for shape in shapes]
    found = ways.prices(np.array([cost for _, cost in best])) * np.where(ways.more > 0, _TWO_KINDS, 1.0)
    return tuple(rows for rows, _ in best), int(found.argmin())
