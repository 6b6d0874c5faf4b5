"""Instructions of products over integers that skip units of zeros (kernels/integers/block_sparse.py).

Products, loads and stores follow from what the generator writes; constants of scalar instructions and branches were
fitted to what the emulator counts of the grid sparse_integers (benchmarks/estimator).
"""

from __future__ import annotations

from typing import NamedTuple

from pfir.backends.tvm.counts.integers.rounding import after_sums
from pfir.backends.tvm.counts.integers.walk import Walk, tiles_of, walk_of
from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.schedule.integers.dot_blocks import positions_together
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import UNIT_SHAPES, Tail, Workload

# Counted: scalar instructions and branches of a tile; scalar instructions of a unit, of several tiles and of one.
_A_TILE, _BRANCHES = 8.5, 2.75
_A_UNIT, _A_UNIT_ALONE = 7.0, 5.5
# What a call takes for five operands: loads, stores, scalar instructions, branches.
_A_CALL = (100.0, 20.0, 100.0, 90.0)
# Loads of a tile of dot products, of what registers do not hold, and a constant that rounding takes.
_AGAIN, _CONSTANT = 2.0, 0.8
_PLACE_BYTES = 4
# Vector instructions that take two positions' sums of four channels apart.
_APART = 3


class _Tiles(NamedTuple):
    """Numbers along a line: tiles, positions or pairs of them that are multiplied, and all positions."""

    number: int
    multiplied: int
    positions: int


def block_sparse_int8(target: Target, workload: Workload, tail: Tail, schedule: SparseBlocks) -> Instructions:
    """The instructions of a product by this schedule."""
    walk = walk_of(workload, schedule.together, positions=positions_together(schedule.dot))
    tiles = _tiles(walk, schedule.blocks[0].rows)
    blocks, units = walk.lines * workload.out[1] // schedule.lanes, walk.lines * units_of(workload, schedule)
    count = _pairs if schedule.dot in PAIR_VECTORS else _dots
    total = Sum()
    found = count(target, total, schedule, tiles, units, blocks)
    total.steer(blocks * tiles.number, _A_TILE, _BRANCHES)
    total.compute(blocks * tiles.number, 0, _CONSTANT)
    total.read(units * tiles.number, 1, _PLACE_BYTES)
    total.steer(units * tiles.number, _A_UNIT if tiles.number > 1 else _A_UNIT_ALONE, 1)
    total.call(*_A_CALL)
    ends = after_sums(target, tail, schedule.lanes, tiles.positions / tiles.number) * (blocks * tiles.positions)
    return total.instructions(False) + found + ends


def units_of(workload: Workload, schedule: SparseBlocks) -> int:
    """Units of the weights that are not zero."""
    return workload.rounds[UNIT_SHAPES.index((schedule.lanes, schedule.inputs))]


def packed_units_bytes(workload: Workload, schedule: SparseBlocks) -> int:
    """Bytes of the weights that are kept, of where their inputs begin, and of where each block's begin."""
    unit = schedule.lanes * schedule.inputs + 4
    return units_of(workload, schedule) * unit + 4 * (workload.out[1] // schedule.lanes + 1)


def _tiles(walk: Walk, most: int) -> _Tiles:
    found = [(times, len(spans)) for times, spans in tiles_of(walk, most)]
    multiplied = sum(times * -(-size // walk.positions) for times, size in found)
    return _Tiles(sum(times for times, _ in found), multiplied, sum(times * size for times, size in found))


def _dots(target: Target, total: Sum, schedule: SparseBlocks, tiles: _Tiles, units: int, blocks: int) -> Instructions:
    """Instructions of dot or matrix products: those that multiply, bring values and weights, and stand around sums."""
    arm, lanes, together = by_lane(target), target.core.vector_bytes // 4, positions_together(schedule.dot)
    vectors, groups = -(-schedule.lanes // lanes), schedule.inputs // schedule.together
    registers, size = together * vectors, target.core.vector_bytes
    weights = groups * registers
    loads = tiles.positions * (1 if arm else groups) + tiles.number * _loads(target, weights)
    dots, apart = float(tiles.multiplied * groups * registers), loads
    if not arm:
        rate, count = target.macs_per_cycle / target.lanes, tiles.number
        dots, apart = count * step(rate, dots / count, loads / count, 1 / groups), 0
    total.read(units, apart, tiles.positions * schedule.inputs + tiles.number * weights * size if apart else 0)
    total.read(blocks * tiles.number, _loads(target, vectors) + _AGAIN, (vectors + _AGAIN) * size)
    total.compute(blocks, 0, registers * tiles.multiplied - vectors * tiles.number)
    if together > 1:
        alone = groups == 1  # the second position of each pair is then loaded into its half, which takes no offset
        total.compute(units, 0, 0 if alone else tiles.multiplied * groups)
        total.steer(units, tiles.multiplied if alone else 0, 0)
        total.compute(blocks, 0, vectors * (tiles.number + _APART * tiles.multiplied))
    return Instructions(dot=units * dots)


def _pairs(target: Target, total: Sum, schedule: SparseBlocks, tiles: _Tiles, units: int, blocks: int) -> Instructions:
    """The same of pairs of products."""
    vectors, together = PAIR_VECTORS[schedule.dot], schedule.together
    held = schedule.lanes * together // (2 * vectors.lanes_of(schedule.lanes, together))
    groups = schedule.inputs // together
    steps, size = -(-groups // vectors.chained), 2 * vectors.lanes[0]
    repeated = together < size
    values = tiles.positions * (1 if vectors.chained > 1 else groups)
    weights = tiles.number * _loads(target, (groups if repeated else steps) * held)
    total.read(units, values + weights, tiles.positions * schedule.inputs + tiles.number * groups * held * size)
    total.compute(units, 0, tiles.positions * groups * repeated)
    results = -(-schedule.lanes // (target.core.vector_bytes // 4))
    total.compute(blocks, 0, 2 * held * tiles.positions)
    total.read(blocks * tiles.number, results, results * target.core.vector_bytes)
    products = units * tiles.positions * held
    if vectors.chained == 1:
        return Instructions(widening=products * groups, vector=products * groups)
    return Instructions(widening=products * (groups + steps))


def _loads(target: Target, vectors: int) -> int:
    """Loads of so many vectors side by side."""
    return -(-vectors // 2) if target.arm64 else vectors
