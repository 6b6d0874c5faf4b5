"""Which blocks of output channels an integer convolution by dot or matrix products is shared out in."""

from __future__ import annotations

from operator import itemgetter

import numpy as np

from pfir.backends.tvm.counts.integers.dot_blocks import of_block
from pfir.backends.tvm.counts.integers.walk import Walk, walk_of
from pfir.backends.tvm.schedule.blocks import Block, Shape
from pfir.backends.tvm.schedule.coverings import coverings
from pfir.backends.tvm.schedule.integers.dot_blocks import (
    DOT_VALUES,
    MATRIX_VALUES,
    SDOT,
    SMMLA,
    DotBlocks,
    dot_of,
    multiplies_matrices,
    positions_together,
)
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.target import Target
from pfir.workload import Tail, Workload

_ARM_SHAPES: tuple[Shape, ...] = tuple(
    (lanes, 0) for lanes in ((4,), (8,), (16,), (8, 4), (16, 4), (16, 8), (16, 8, 4), (16, 16))
)
_X86_SHAPES: tuple[Shape, ...] = tuple(
    (lanes, 0) for lanes in ((4,), (8,), (16,), (16, 8), (16, 16), (16, 16, 16), (16, 16, 16, 16))
)
# Registers that matrix products need beside sums and values: with fewer LLVM spills.
_OTHERS_OF_MATRICES = 4
_MOST_ROWS = 14
_FEW = 4  # plans that are worth measuring
_AFTER = Tail(bias=True, operators=("QuantizeLinear",))


def priced_dots(target: Target, workload: Workload) -> list[tuple[float, DotBlocks]]:
    """A few plans and their cycles, from the fewest on, of a core that has dot products."""
    priced = [plan for dot in dots_for(target, workload.channels) for plan in _priced(target, workload, dot)]
    return sorted(priced, key=itemgetter(0))[:_FEW]


def dots_for(target: Target, channels: int) -> list[str]:
    """The instructions that multiply so many input channels."""
    matrices = multiplies_matrices(target) and channels >= MATRIX_VALUES
    return [dot_of(target) or SDOT, *([SMMLA] if matrices else [])]


def _priced(target: Target, workload: Workload, dot: str) -> list[tuple[float, DotBlocks]]:
    """Plans with an instruction and what they take, from the fewest cycles on."""
    shapes = _ARM_SHAPES if by_lane(target) else _X86_SHAPES
    walk = walk_of(workload, MATRIX_VALUES if dot == SMMLA else DOT_VALUES, positions=positions_together(dot))
    ways = coverings(workload.out[1] // workload.group, shapes)
    blocks = [Block(*shape, rows_of(target, walk, shape)) for shape in shapes]
    cycles = np.array([target.core.costs.cycles(of_block(target, walk, block, _AFTER)) for block in blocks])
    prices = ways.prices(cycles)
    order = np.argsort(prices, kind="stable")[:_FEW]
    return [(float(prices[way]), _plan(target, blocks, ways.kinds(int(way)), dot)) for way in order]


def _plan(target: Target, blocks: list[Block], kinds: list[tuple[int, int]], dot: str) -> DotBlocks:
    chosen = tuple(Block(blocks[i].lanes, 0, blocks[i].rows, count) for i, count in kinds)
    return DotBlocks(chosen, dot, target.threads)


def rows_of(target: Target, walk: Walk, shape: Shape) -> int:
    """The most positions of which sums and values stay in registers, in tiles as equal as they come; pairs of them
    where those are multiplied together."""
    vectors = sum(-(-lanes // (target.core.vector_bytes // 4)) for lanes in shape[0])
    if walk.positions > 1:
        most = 2 * ((target.core.vector_registers - _OTHERS_OF_MATRICES) // (2 * vectors + 2))
    else:
        held = target.core.vector_registers - (2 if by_lane(target) else vectors + 2)
        most = held // (vectors + (1 if by_lane(target) else 0))
    most = min(_MOST_ROWS, most, walk.out)
    return max(map(len, walk.axis.balanced(most, walk.positions)))
