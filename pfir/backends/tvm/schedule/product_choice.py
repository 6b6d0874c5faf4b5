"""The tile of a matrix product with constant weights that takes the fewest cycles by counted instructions (Arm); on x86
the one of the model of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pfir.backends.tvm.counts.products.product import Tailed, counted
from pfir.backends.tvm.counts.sums import is_half, registers_of
from pfir.backends.tvm.schedule.remainders import remainder_tile
from pfir.backends.tvm.schedule.tile_kinds import DotsTile, MatrixTile, ProductTile
from pfir.backends.tvm.schedule.tiles import by_lane, most_rows, product_tile, shared
from pfir.target import Target
from pfir.workload import Workload

_BIAS = Tailed(True, 0, 0)
# Rows of a tile of so many vectors that stay in registers beside what LLVM loads ahead (found by disassembly).
_ROWS = ((1, 12), (2, 8), (3, 6), (4, 5))
# Cycles of another tile, as a multiple of the usual one's, from which on it is taken: of float32 and of float16, of
# which the usual ones of many sums spill.
_GAIN, _GAIN_HALF = 0.98, 1.0
_SEVERAL = 4  # rows; fewer want all columns at a time
_LOOPED = 16  # input channels from which on there is a loop over them, whose weights do not stay in registers


def chosen_tile(target: Target, workload: Workload) -> ProductTile | DotsTile:
    """The tile of a product."""
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
