"""Instructions of integer convolutions by pairs of products."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pfir.backends.tvm.counts.integers.rounding import after_sums
from pfir.backends.tvm.counts.integers.walk import WRITTEN_OUT, Walk, stretches, tiles_of, walk_of
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.kernels.integers.groups import Cut, cut
from pfir.backends.tvm.kernels.integers.tile import parts_of
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, PairBlocks, PairVectors
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Scalar instructions of a line, of a tile, of a row of the kernel, of a run that is not the only one, and of a round of
# a loop.
_A_LINE, _A_TILE, _A_ROW, _A_RUN, _A_ROUND = 25, 6, 4, 4, 3


# Of loads of two registers each, of which some are taken apart between fences.
_APART = 1.25


class _Row(NamedTuple):
    """Of all tiles along a row of the result, for one row of the kernel.

    Args:
        groups, steps: That are multiplied, over all positions.
        weights, chains: Groups and steps of weights.
        loads: Of input values.
        runs: Of one tap after the other.
        pieces: Loads of a position.
        rounds: Of loops over them that are not written out.
        tiles: How many there are.
    """

    groups: int
    steps: int
    weights: int
    chains: int
    loads: int
    runs: int
    pieces: int
    rounds: int
    tiles: int


def conv_pairs(target: Target, workload: Workload, tail: Tail, plan: PairBlocks) -> Instructions:
    """The instructions of a kernel."""
    walk = walk_of(workload, plan.together, PAIR_VECTORS[plan.dot].chained)
    found = walk.copy
    for block in plan.blocks:
        found += of_pair_block(target, walk, block, plan.dot, tail) * block.count
    return found


def of_pair_block(target: Target, walk: Walk, block: Block, dot: str, tail: Tail) -> Instructions:
    """The instructions of one block of channels over all positions."""
    vectors = PAIR_VECTORS[dot]
    held = sum(width * walk.together // (2 * vectors.lanes_of(width, walk.together)) for width in block.lanes)
    row, total = _row(walk, block.rows, vectors, held), Sum()
    _load(target, total, walk, row, held, vectors)
    _begin_and_end(target, total, walk, row, block, held)
    _steer(target, total, walk, row, held, vectors.mixed)
    found = total.instructions(False) + _multiply(row, held, vectors) * walk.rows
    for width in block.lanes:
        for _, kept in [(0, width)] if width <= walk.channels else parts_of(walk.channels):
            found += after_sums(target, tail, kept, walk.out / row.tiles) * (walk.lines * walk.out)
    return found


def _multiply(row: _Row, held: int, vectors: PairVectors) -> Instructions:
    """Those that multiply and add: of Arm a product for each group and a sum for each step."""
    if vectors.chained == 1:
        return Instructions(widening=row.groups * held, vector=row.groups * held)
    return Instructions(widening=(row.groups + row.steps) * held)


def _load(target: Target, total: Sum, walk: Walk, row: _Row, held: int, vectors: PairVectors) -> None:
    """Add those that bring input values and weights, and repeat values."""
    size = 2 * vectors.lanes[0]
    repeated = walk.together < size
    values = row.loads if vectors.chained > 1 else row.groups
    pieces = vectors.pieces(walk.together)
    weights = (row.weights if repeated else row.chains * pieces) * held / (2 if target.arm64 else 1)
    apart = _APART if pieces > 1 else 1.0
    total.read(walk.rows, (values + weights) * apart, row.groups * walk.together + row.weights * held * size)
    total.compute(walk.rows, 0, row.groups * repeated)


def _begin_and_end(target: Target, total: Sum, walk: Walk, row: _Row, block: Block, held: int) -> None:
    """Add zeros, the sums of neighbours, and the first values."""
    lanes = target.core.vector_bytes // 4
    results = sum(-(-width // lanes) for width in block.lanes)
    total.compute(walk.lines * walk.out, 0, 2 * held - _begins_with_products(walk, row) * held)
    starts = results * row.tiles
    total.read(walk.lines, starts / (2 if target.arm64 and results > 1 else 1), starts * target.core.vector_bytes)


def _begins_with_products(walk: Walk, row: _Row) -> bool:
    """Whether there is no loop, so that LLVM adds the first products to nothing."""
    return _is_pointwise(walk) and not row.rounds


def _is_pointwise(walk: Walk) -> bool:
    """Whether there is one tap, and so no loop over rows of the kernel."""
    return walk.kernel == 1 and walk.rows == walk.lines


def _steer(target: Target, total: Sum, walk: Walk, row: _Row, held: int, mixed: int) -> None:
    """Add addresses, counters, branches, and fences: at each load, and between so many vectors."""
    fences = max(row.pieces, row.chains * held / mixed if held > mixed else 0) if target.arm64 else 0
    total.steer(walk.lines, _A_LINE + row.tiles * _A_TILE, 2 + row.tiles)
    rows = 0 if _is_pointwise(walk) else row.tiles
    steps = rows * _A_ROW + row.runs * _A_RUN + row.rounds * _A_ROUND + fences
    total.steer(walk.rows, steps, rows + row.runs + row.rounds)


@lru_cache(maxsize=1 << 14)
def _row(walk: Walk, most: int, vectors: PairVectors, held: int) -> _Row:
    """What tiles of at most so many positions do, each with so many vectors of sums."""
    found = [0] * 9
    for times, spans in tiles_of(walk, most):
        found[8] += times
        for taps, who in stretches(walk.kernel, spans):
            runs, length = (1, walk.inner * taps) if walk.beside else (taps, walk.inner)
            cuts = cut(length, walk.together)
            groups, steps = cuts.count, _steps(cuts, walk.together, vectors)
            pieces = vectors.pieces(walk.together)
            counts = [count for _, count in cuts.loads(pieces)]
            loads = sum(counts) + (cuts.last is not None)
            # Loops between whose vectors are fences LLVM never writes out.
            looped = pieces > 1 or len(who) * held * (groups + steps) > WRITTEN_OUT
            sums = len(who) * groups, len(who) * steps, groups, steps, len(who) * loads
            rounds = sum(count for count in counts if count > 1) if looped else 0
            sizes = *sums, 0 if walk.beside else 1, loads, rounds
            found[:8] = [one + times * runs * size for one, size in zip(found, sizes, strict=False)]
    return _Row(*found)


def _steps(cuts: Cut, together: int, vectors: PairVectors) -> int:
    """Steps of a run, in each of which as many groups of a load are chained as there are."""
    last = cuts.last.groups - cuts.last.skipped if cuts.last else 0
    loads = [*cuts.loads(vectors.pieces(together)), (last, 1)]
    return sum(count * -(-groups // vectors.chained) for groups, count in loads)
