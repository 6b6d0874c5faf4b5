"""Instructions of products with few outputs, whose vectors lie along the input channels (kernels/products/dots.py)."""

from __future__ import annotations

from functools import lru_cache

from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.products.product import Tailed, call
from pfir.backends.tvm.counts.sums import Registers, Sum, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import DotsTile
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Multiply-adds of a tile up to which LLVM writes out the loop over input channels.
_WRITTEN_OUT = 100
# Counted, scalar: of a tile, of a round of a loop.
_A_TILE, _A_ROUND = 6.0, 3.0
_RESULTS = 4  # of single values that LLVM stores as one vector
_ALL_PAIRED, _PAIRED = 0.5, 0.3  # share of the loads that come with another: where all are written out, and of copies


def dots(target: Target, workload: Workload, tail: Tail, tile: DotsTile) -> Instructions:
    """The instructions of a product by this tile."""
    after = Tailed(tail.bias, tail_of_vector(tail, 1).vector, tail.reads)
    return counted_dots(registers_of(target), *workload.data, tile, after).instructions(False)


@lru_cache(maxsize=4096)
def counted_dots(registers: Registers, rows: int, inner: int, tile: DotsTile, after: Tailed) -> Sum:
    """The sum over all tiles."""
    found, outputs = Sum(), tile.outputs
    tiles, steps = -(-rows // tile.rows), -(-inner // tile.lanes)
    sums, vector_bytes = tile.rows * outputs, tile.lanes * registers.value_bytes
    rounds = inner // tile.lanes // tile.copies
    written = rounds <= 1 or rounds * tile.copies * sums <= _WRITTEN_OUT
    loads, multiply = tile.rows + outputs, float(sums)
    if registers.by_lane:  # steps side by side come in pairs
        paired = _ALL_PAIRED if written and rounds > 1 else _PAIRED * (written or tile.copies > 1)
        found.read(tiles * steps, loads * (1 - paired), loads * vector_bytes)
    else:
        multiply = step(registers.rate, sums, loads, tile.copies)
    found.compute(tiles, multiply * steps, sums * (tile.copies * 2 - 1))
    # The sum across lanes halves them; then come a bias and the tail, of single values.
    across = tile.lanes.bit_length() + after.bias + after.vector
    found.compute(tiles, 0, sums * across)
    found.read(tiles, after.reads * sums, 4 * after.reads * sums)
    found.write(tiles, -(-sums // _RESULTS) if registers.by_lane else sums, 4 * sums)
    found.steer(tiles, _A_TILE, 1)
    found.steer(0 if written else tiles * rounds, _A_ROUND, 1)
    call(found, rows)
    return found
