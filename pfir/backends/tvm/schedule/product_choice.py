"""The tile of a matrix product with constant weights that takes the fewest cycles by counted instructions (Arm); on x86
the one of the model of the core. One that skips blocks of zeros is taken where that takes fewer cycles on either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pfir.backends.tvm.counts.products.block_sparse import counted_sparse
from pfir.backends.tvm.counts.products.dots import counted_dots
from pfir.backends.tvm.counts.products.product import Tailed, counted
from pfir.backends.tvm.counts.sums import is_half, registers_of
from pfir.backends.tvm.schedule.remainders import remainder_tile
from pfir.backends.tvm.schedule.tile_kinds import DotsTile, MatrixTile, ProductTile, SparseTile
from pfir.backends.tvm.schedule.tiles import by_lane, most_rows, product_tile, shared
from pfir.target import FLOAT32, Target
from pfir.workload import BLOCK_SHAPES, Workload

SPARSE_GAIN = 0.85
"""Cycles of a kernel that skips zeros, as a multiple of a dense one's, from which on it is taken: by about as much as
costs of a board err."""
_BIAS = Tailed(True, 0, 0)
# Rows of a tile of so many vectors that stay in registers beside what LLVM loads ahead (found by disassembly).
_ROWS = ((1, 12), (2, 8), (3, 6), (4, 5))
# Cycles of another tile, as a multiple of the usual one's, from which on it is taken: of float32 and of float16, of
# which the usual ones of many sums spill.
_GAIN, _GAIN_HALF = 0.98, 1.0
_SUMS, _SUMS_OF_FEW = 16, 8  # accumulators of such a tile, of 32 and of fewer registers
_SEVERAL = 4  # rows; fewer want all columns at a time
_LOOPED = 16  # input channels from which on there is a loop over them, whose weights do not stay in registers


def chosen_tile(target: Target, workload: Workload) -> ProductTile | DotsTile | SparseTile:
    """The tile of a product."""
    dense, sparse = dense_tile(target, workload), sparse_tiles(target, workload)
    if not sparse:
        return dense
    registers, costs = registers_of(target), target.core.costs

    def cycles(tile: SparseTile) -> float:
        return counted_sparse(registers, workload, tile, _BIAS).cycles(costs, False)

    best = min(sparse, key=cycles)
    return best if cycles(best) < SPARSE_GAIN * _dense_cycles(target, workload, dense) else dense


def sparse_tiles(target: Target, workload: Workload) -> list[SparseTile]:
    """The tiles that skip blocks of zeros; none where the pattern is not known, nor of float16 or 32-bit Arm."""
    if not workload.rounds or target.arithmetic != FLOAT32 or (by_lane(target) and not target.arm64):
        return []
    rows, held = workload.data[0], _SUMS if target.core.vector_registers >= 32 else _SUMS_OF_FEW
    return [
        SparseTile(lanes, _evenly(rows, held // -(-lanes // target.lanes)), steps, target.threads)
        for (lanes, steps), rounds in zip(BLOCK_SHAPES, workload.rounds, strict=True)
        if rounds
    ]


def _evenly(rows: int, most: int) -> int:
    """As few rows of a tile of at most so many as take no more tiles."""
    return -(-rows // -(-rows // most))


def _dense_cycles(target: Target, workload: Workload, tile: ProductTile | DotsTile) -> float:
    (rows, inner), columns, registers = workload.data, workload.out[1], registers_of(target)
    if isinstance(tile, DotsTile):
        return counted_dots(registers, rows, inner, tile, _BIAS).cycles(target.core.costs, False)
    return _cycles_of(target, rows, inner, columns)(tile)


def dense_tile(target: Target, workload: Workload) -> ProductTile | DotsTile:
    """The tile of a product that multiplies zeros as it does all weights."""
    (rows, inner), columns = workload.data, workload.out[1]
    apart, usual = remainder_tile(target, rows, columns, inner), product_tile(target, rows, columns, inner)
    if not by_lane(target) or isinstance(apart, DotsTile):
        return apart or usual
    others = [*([apart] if apart else []), *_others(target, usual, rows, inner)]
    if not others:
        return usual
    cycles = _cycles_of(target, rows, inner, columns)
    best = min(others, key=cycles)
    return best if cycles(best) < (_GAIN_HALF if is_half(target) else _GAIN) * cycles(usual) else usual


def _others(target: Target, usual: MatrixTile, rows: int, inner: int) -> list[MatrixTile]:
    """Tiles of other numbers of vectors, and of rows that are shared evenly; none of few rows or input channels."""
    if rows < _SEVERAL or inner < _LOOPED or target.core.vector_registers < 32:
        return []
    most, tallest = usual.rows * usual.vectors, most_rows(target, inner)
    tiles = (
        replace(usual, vectors=vectors, rows=min(rows, tall, tallest))
        for vectors, tall in _ROWS
        if vectors * tall <= most
    )
    return [shared(tile, rows) for tile in (usual, *tiles)]


def _cycles_of(target: Target, rows: int, inner: int, columns: int) -> Callable[[ProductTile], float]:
    """The cycles of a product by a tile."""
    registers, costs, half = registers_of(target), target.core.costs, is_half(target)

    def cycles(tile: ProductTile) -> float:
        return counted(registers, rows, inner, columns, tile, _BIAS).cycles(costs, half)

    return cycles
