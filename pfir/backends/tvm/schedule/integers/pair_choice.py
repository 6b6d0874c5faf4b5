"""Which blocks of output channels an integer convolution by pairs of products is shared out in."""

from __future__ import annotations

from operator import itemgetter

import numpy as np

from pfir.backends.tvm.counts.integers.pair_blocks import of_pair_block
from pfir.backends.tvm.counts.integers.walk import Walk, walk_of
from pfir.backends.tvm.schedule.blocks import Block, Shape, bordered
from pfir.backends.tvm.schedule.coverings import coverings
from pfir.backends.tvm.schedule.integers.pair_blocks import (
    PAIR_VECTORS,
    SMULL,
    SMULL_4,
    PairBlocks,
    PairVectors,
    pairs_of,
)
from pfir.ir.costs.chains import INPUTS, WIDE
from pfir.target import Target
from pfir.workload import Tail, Workload

_SHAPES: tuple[Shape, ...] = tuple((lanes, 0) for lanes in ((4,), (8,), (16,), (8, 4), (16, 8)))
_TOGETHER = (2, 4, 8, 16)
# Registers for products and weights; of Arm by how many inputs stand together.
_SPARE, _SPARE_ARM, _SPARE_UNMIXED = 6, {2: 12, 4: 11, 8: 11}, 8
_MOST_ROWS = 8
_FEW = 4  # plans that are worth measuring


def priced_pairs(target: Target, workload: Workload) -> list[tuple[float, PairBlocks]]:
    """A few plans and their cycles, from the fewest on, of work that `covers` holds for."""
    dot = pairs_of(target) or SMULL
    copies, widest = bordered(workload.order, workload.data[1]), 2 * PAIR_VECTORS[dot].lanes[0]
    sizes = [size for size in _TOGETHER if size <= widest and (copies or size <= workload.channels)]
    ways = [(dot, size) for size in sizes]
    if dot == SMULL and workload.kind != WIDE and workload.channels >= INPUTS:
        ways.append((SMULL_4, widest))
    priced = [plan for way in ways for plan in _priced(target, workload, *way)]
    return sorted(priced, key=itemgetter(0))[:_FEW]


def _priced(target: Target, workload: Workload, dot: str, together: int) -> list[tuple[float, PairBlocks]]:
    """Plans with so many inputs together and what they take, from the fewest cycles on."""
    vectors = PAIR_VECTORS[dot]
    walk = walk_of(workload, together, vectors.chained)
    shapes = tuple(shape for shape in _SHAPES if all(vectors.takes(width, together) for width in shape[0]))
    shapes = tuple(shape for shape in shapes if most_rows(target, shape, together, vectors))
    ways = coverings(workload.out[1] // workload.group, shapes)
    blocks = [Block(*shape, rows_of_pairs(target, walk, shape, vectors)) for shape in shapes]
    after = Tail(bias=True, operators=("QuantizeLinear",))
    prices = [target.core.costs.cycles(of_pair_block(target, walk, block, dot, after)) for block in blocks]
    found = ways.prices(np.array(prices))
    order = np.argsort(found, kind="stable")[:_FEW]
    return [(float(found[way]), _plan(target, blocks, ways.kinds(int(way)), dot, together)) for way in order]


def _plan(target: Target, blocks: list[Block], kinds: list[tuple[int, int]], dot: str, together: int) -> PairBlocks:
    chosen = tuple(Block(blocks[i].lanes, 0, blocks[i].rows, count) for i, count in kinds)
    return PairBlocks(chosen, dot, together, target.threads)


def rows_of_pairs(target: Target, walk: Walk, shape: Shape, vectors: PairVectors) -> int:
    """The most positions of a tile, in tiles as equal as they come."""
    most = min(_MOST_ROWS, most_rows(target, shape, walk.together, vectors), walk.out)
    return -(-walk.out // -(-walk.out // most))


def most_rows(target: Target, shape: Shape, together: int, vectors: PairVectors) -> int:
    """The most positions of which sums and values stay in registers, as LLVM's assembly shows: values that are repeated
    on Arm take a register for each of the groups that are chained, too."""
    held = sum(width * together // (2 * vectors.lanes_of(width, together)) for width in shape[0])
    whole = vectors.chained == 1 or (target.arm64 and together == 2 * vectors.lanes[0])
    spare = (_SPARE_UNMIXED if vectors.mixed == 1 else _SPARE_ARM[together]) if target.arm64 else _SPARE
    values = vectors.pieces(together) if whole else 1 + vectors.chained
    return (target.core.vector_registers - spare) // (held + values)
