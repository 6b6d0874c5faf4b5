"""Instructions of integer convolutions by pairs of products."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pfir.backends.tvm.counts.integers.rounding import after_sums
from pfir.backends.tvm.counts.integers.walk import Walk, stretches, tiles_of, walk_of
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.kernels.integers.groups import Cut, cut
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.pair_blocks import MIXED, PAIR_VECTORS, PairBlocks, PairVectors
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Scalar instructions of a line, of a tile, of a row of the kernel, of a run, and of a round of it.
_A_LINE, _A_TILE, _A_ROW, _A_RUN, _A_ROUND = 25, 6, 5, 5, 3


class _Row(NamedTuple):
    """Of all tiles along a row of the result, for one row of the kernel.

    Args:
        groups, steps: That are multiplied, over all positions.
        weights, chains: Groups and steps of weights.
        loads: Of input values.
        runs, rounds: Stretches of values, and loads of each position.
        tiles: How many there are.
    """

    groups: int
    steps: int
    weights: int
    chains: int
    loads: int
    runs: int
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
    row, total = _row(walk, block.rows, vectors.chained), Sum()
    _loads(target, total, walk, row, held, vectors)
    _begin_and_end(target, total, walk, row, block, held)
    fences = row.chains * held / MIXED - row.rounds if target.arm64 and held > MIXED else 0
    total.steer(walk.lines, _A_LINE + row.tiles * _A_TILE, 2 + row.tiles)
    steered = row.tiles * _A_ROW + row.runs * _A_RUN + row.rounds * _A_ROUND + fences
    total.steer(walk.rows, steered, row.tiles + row.rounds)
    found = total.instructions(False) + _products(walk, row, held, vectors)
    for width in block.lanes:
        found += after_sums(target, tail, width) * (walk.lines * walk.out)
    return found


def _products(walk: Walk, row: _Row, held: int, vectors: PairVectors) -> Instructions:
    """Those that multiply and add: of Arm a product for each group and a sum for each step."""
    if vectors.chained == 1:
        return Instructions(widening=row.groups * held, vector=row.groups * held) * walk.rows
    return Instructions(widening=(row.groups + row.steps) * held) * walk.rows


def _loads(target: Target, total: Sum, walk: Walk, row: _Row, held: int, vectors: PairVectors) -> None:
    """Those that bring input values and weights, and repeat or widen them."""
    repeated = walk.together < 2 * vectors.lanes[-1]
    if vectors.chained == 1:
        total.read(walk.rows, row.groups + row.weights * held, row.groups * walk.together + row.weights * held * 2 * vectors.lanes[0])
        total.compute(walk.rows, 0, row.groups * (walk.together < 2 * vectors.lanes[0]))
        return
    paired = 2 if target.arm64 else 1
    weights = (row.weights if repeated else row.chains) * held / paired
    total.read(walk.rows, row.loads + weights, row.groups * walk.together + row.weights * held * 8)
    total.compute(walk.rows, 0, row.groups * repeated)


def _begin_and_end(target: Target, total: Sum, walk: Walk, row: _Row, block: Block, held: int) -> None:
    """Zeros, the sums of neighbours, and the first values."""
    lanes = target.core.vector_bytes // 4
    results = sum(-(-width // lanes) for width in block.lanes)
    total.compute(walk.lines * walk.out, 0, held + (held - results) + results)
    starts = results * row.tiles
    total.read(walk.lines, starts / (2 if by_lane(target) else 1), starts * target.core.vector_bytes)


@lru_cache(maxsize=1 << 14)
def _row(walk: Walk, most: int, chained: int) -> _Row:
    """What tiles of at most so many positions do."""
    found = [0] * 8
    for times, spans in tiles_of(walk, most):
        found[7] += times
        for taps, positions in stretches(walk.kernel, spans):
            runs, length = (1, walk.inner * taps) if walk.beside else (taps, walk.inner)
            pieces = cut(length, walk.together)
            groups, steps, loads = pieces.count * runs, _steps(pieces, chained) * runs, _loaded(pieces) * runs
            sizes = positions * groups, positions * steps, groups, steps, positions * loads, runs, loads
            found[:7] = [one + times * size for one, size in zip(found, sizes, strict=False)]
    return _Row(*found)


def _steps(pieces: Cut, chained: int) -> int:
    """Steps of a run, in each of which as many groups of a load are chained as there are."""
    last = pieces.last.groups - pieces.last.skipped if pieces.last else 0
    return pieces.whole * -(-pieces.groups // chained) + -(-last // chained)


def _loaded(pieces: Cut) -> int:
    return pieces.whole + (pieces.last is not None)
