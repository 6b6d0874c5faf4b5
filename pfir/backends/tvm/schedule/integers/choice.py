"""Which blocks of output channels an integer convolution by dot products is shared out in."""

from __future__ import annotations

import numpy as np

from pfir.backends.tvm.counts.integers.dot_blocks import Walk, of_block, walk_of
from pfir.backends.tvm.schedule.blocks import Block, Shape
from pfir.backends.tvm.schedule.coverings import coverings
from pfir.backends.tvm.schedule.integers.dot_blocks import SDOT, DotBlocks, dot_of
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.target import Target
from pfir.workload import Tail, Workload

_ARM_SHAPES: tuple[Shape, ...] = tuple(
    (lanes, 0) for lanes in ((4,), (8,), (16,), (8, 4), (16, 4), (16, 8), (16, 8, 4), (16, 16))
)
_X86_SHAPES: tuple[Shape, ...] = tuple(
    (lanes, 0) for lanes in ((4,), (8,), (16,), (16, 8), (16, 16), (16, 16, 16), (16, 16, 16, 16))
)
_MOST_ROWS = 14
_FEW = 4  # plans that are worth measuring


def covers(target: Target, workload: Workload) -> bool:
    """Whether the kernel can be made: the core has a dot product, and each tap has four values side by side, or a copy
    of few channels gives them."""
    few = workload.group == 1 and workload.channels < 4
    return dot_of(target) is not None and (few or workload.channels >= 4)


def dot_plan(target: Target, workload: Workload) -> DotBlocks:
    """The plan that takes the fewest cycles, of work that `covers` holds for."""
    return dot_plans(target, workload)[0]


def dot_plans(target: Target, workload: Workload) -> list[DotBlocks]:
    """A few plans, from the fewest cycles on."""
    shapes = _ARM_SHAPES if by_lane(target) else _X86_SHAPES
    walk, ways = walk_of(target, workload), coverings(workload.out[1] // workload.group, shapes)
    blocks = [Block(*shape, _rows(target, walk, shape)) for shape in shapes]
    after = Tail(bias=True, operators=("Mul",))
    cycles = np.array([target.core.costs.cycles(of_block(target, walk, block, after)) for block in blocks])
    order = np.argsort(ways.prices(cycles), kind="stable")[:_FEW]
    return [_plan(target, blocks, ways.kinds(int(way))) for way in order]


def _plan(target: Target, blocks: list[Block], kinds: list[tuple[int, int]]) -> DotBlocks:
    chosen = tuple(Block(blocks[i].lanes, 0, blocks[i].rows, count) for i, count in kinds)
    return DotBlocks(chosen, dot_of(target) or SDOT, target.threads)


def _rows(target: Target, walk: Walk, shape: Shape) -> int:
    """The most positions of which sums and values stay in registers, in tiles as equal as they come."""
    vectors = sum(-(-lanes // (target.core.vector_bytes // 4)) for lanes in shape[0])
    held = target.core.vector_registers - (2 if by_lane(target) else vectors + 2)
    most = min(_MOST_ROWS, held // (vectors + (1 if by_lane(target) else 0)), walk.out)
    return -(-walk.out // -(-walk.out // most))
