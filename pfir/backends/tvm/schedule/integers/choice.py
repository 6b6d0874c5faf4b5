"""Which blocks of output channels an integer convolution is shared out in, and which instruction multiplies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter

import numpy as np

from pfir.backends.tvm.counts.integers.dot_blocks import conv_int8, of_block
from pfir.backends.tvm.counts.integers.pair_blocks import conv_pairs
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
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, PairBlocks, pairs_of
from pfir.backends.tvm.schedule.integers.pair_choice import priced_pairs
from pfir.backends.tvm.schedule.integers.winograd import IntegerWinograd
from pfir.backends.tvm.schedule.integers.winograd_choice import priced_tiles
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.target import Target
from pfir.workload import Tail, Workload

IntegerPlan = DotBlocks | PairBlocks | IntegerWinograd

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
_FEWEST = 4  # input values that a run has
_MOST_JOINED = 16  # input channels of groups that are joined
_AFTER = Tail(bias=True, operators=("Mul",))


def covers(target: Target, workload: Workload) -> bool:
    """Whether the kernel can be made: the target has products of bytes, and each tap has four values side by side, or a
    copy of few channels gives them."""
    few = workload.group == 1 and workload.channels < _FEWEST
    has = dot_of(target) is not None or pairs_of(target) is not None
    return has and (few or workload.channels >= _FEWEST)


def joined(target: Target, workload: Workload) -> Workload:
    """The same work with as many groups of few channels joined to one as take the fewest cycles; the weights between
    them are zero. Groups of single channels are so where floats would take longer: where dot products by lanes make
    several outputs of each."""
    group, channels = workload.group, workload.channels
    several = channels > 1 or (dot_of(target) == SDOT and workload.out[1] > group)
    if group == 1 or channels >= _FEWEST or not several or not covers(target, replace(workload, group=1)):
        return workload
    counts = [n for n in range(1, group + 1) if group % n == 0 and _FEWEST <= n * channels <= _MOST_JOINED]
    works = [replace(workload, group=group // count) for count in counts or [group]]
    return min(works, key=lambda work: _cycles(target, work))


@lru_cache(maxsize=1 << 12)
def _cycles(target: Target, workload: Workload) -> float:
    """What the best plan takes."""
    plan = integer_plan(target, workload)
    count = conv_int8 if isinstance(plan, DotBlocks) else conv_pairs
    return target.core.costs.cycles(count(target, workload, _AFTER, plan))


def adds_in_16_bits(target: Target) -> bool:
    """Whether two products are added in 16 bits, which those of weights of -128 may overflow."""
    dot = pairs_of(target)
    return dot_of(target) is None and dot is not None and PAIR_VECTORS[dot].chained > 1


def integer_plan(target: Target, workload: Workload) -> IntegerPlan:
    """The plan that takes the fewest cycles, of work that `covers` holds for."""
    return integer_plans(target, workload)[0]


def integer_plans(target: Target, workload: Workload) -> Sequence[IntegerPlan]:
    """A few plans, from the fewest cycles on: by pairs of products or Winograd's tiles where there are no dot
    products."""
    if dot_of(target):
        return dot_plans(target, workload)
    priced = [*priced_pairs(target, workload), *priced_tiles(target, workload)]
    return [plan for _, plan in sorted(priced, key=itemgetter(0))]


def dot_plans(target: Target, workload: Workload) -> list[DotBlocks]:
    """A few plans, from the fewest cycles on."""
    dots = [dot_of(target) or SDOT]
    if multiplies_matrices(target) and workload.channels >= MATRIX_VALUES:
        dots.append(SMMLA)
    priced = [plan for dot in dots for plan in _priced(target, workload, dot)]
    return [plan for _, plan in sorted(priced, key=itemgetter(0))][:_FEW]


def _priced(target: Target, workload: Workload, dot: str) -> list[tuple[float, DotBlocks]]:
    """Plans with an instruction and what they take, from the fewest cycles on."""
    shapes = _ARM_SHAPES if by_lane(target) else _X86_SHAPES
    walk = walk_of(workload, MATRIX_VALUES if dot == SMMLA else DOT_VALUES, positions=positions_together(dot))
    ways = coverings(workload.out[1] // workload.group, shapes)
    blocks = [Block(*shape, _rows(target, walk, shape)) for shape in shapes]
    cycles = np.array([target.core.costs.cycles(of_block(target, walk, block, _AFTER)) for block in blocks])
    prices = ways.prices(cycles)
    order = np.argsort(prices, kind="stable")[:_FEW]
    return [(float(prices[way]), _plan(target, blocks, ways.kinds(int(way)), dot)) for way in order]


def _plan(target: Target, blocks: list[Block], kinds: list[tuple[int, int]], dot: str) -> DotBlocks:
    chosen = tuple(Block(blocks[i].lanes, 0, blocks[i].rows, count) for i, count in kinds)
    return DotBlocks(chosen, dot, target.threads)


def _rows(target: Target, walk: Walk, shape: Shape) -> int:
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
