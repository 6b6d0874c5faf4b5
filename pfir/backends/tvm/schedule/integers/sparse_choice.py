"""Which units of zeros a product over integers skips, and in which tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter

from pfir.backends.tvm.counts.integers.block_sparse import block_sparse_int8
from pfir.backends.tvm.counts.integers.walk import walk_of
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks, dot_of, positions_together
from pfir.backends.tvm.schedule.integers.dot_choice import dots_for, rows_of
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, SMULL, PairBlocks, pairs_of
from pfir.backends.tvm.schedule.integers.pair_choice import most_rows, rows_of_pairs
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.target import Target
from pfir.workload import UNIT_SHAPES, Tail, Workload

_AFTER = Tail(bias=True, operators=("QuantizeLinear",))
_TOGETHER = (2, 4, 8, 16)
_FEW = 3  # schedules that are worth measuring


def priced_units(target: Target, workload: Workload) -> list[tuple[float, SparseBlocks]]:
    """A few schedules and their cycles, from the fewest on; none where the pattern of zeros is not known."""
    if not workload.rounds:
        return []
    costs = target.core.costs
    found = list(_schedules(target, workload))
    cycles = [costs.cycles(block_sparse_int8(target, workload, _AFTER, schedule)) for schedule in found]
    return sorted(zip(cycles, found, strict=True), key=itemgetter(0))[:_FEW]


def _schedules(target: Target, workload: Workload) -> Iterator[SparseBlocks]:
    """Of each size of units those by all instructions that multiply whole ones."""
    for (lanes, inputs), units in zip(UNIT_SHAPES, workload.rounds, strict=True):
        if units:
            make = _by_dots if dot_of(target) else _by_pairs
            yield from (SparseBlocks(plan, inputs) for plan in make(target, workload, lanes, inputs))


def _by_dots(target: Target, workload: Workload, lanes: int, inputs: int) -> Iterator[DotBlocks]:
    for dot in dots_for(target, inputs):
        plan = DotBlocks((), dot, target.threads)
        walk = walk_of(workload, plan.together, positions=positions_together(dot))
        yield replace(plan, blocks=_blocks(workload, lanes, rows_of(target, walk, ((lanes,), 0))))


def _by_pairs(target: Target, workload: Workload, lanes: int, inputs: int) -> Iterator[PairBlocks]:
    dot = pairs_of(target) or SMULL
    vectors, shape = PAIR_VECTORS[dot], ((lanes,), 0)
    for together in _TOGETHER:
        fits = together <= min(inputs, 2 * vectors.lanes[0]) and vectors.takes(lanes, together)
        if fits and most_rows(target, shape, together, vectors):
            rows = rows_of_pairs(target, walk_of(workload, together, vectors.chained), shape, vectors)
            yield PairBlocks(_blocks(workload, lanes, rows), dot, together, target.threads)


def _blocks(workload: Workload, lanes: int, rows: int) -> tuple[Block, ...]:
    return (Block((lanes,), 0, rows, workload.out[1] // lanes),)
