"""Instructions of matrix products that skip blocks of zeros (kernels/products/block_sparse.py).

Vector instructions, loads and stores follow from what the generator writes; constants of scalar instructions and
branches were read from disassembly of generic 64-bit Arm code and checked under the emulator, by the grid sparse of
benchmarks/estimator.
"""

from __future__ import annotations

from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.products.product import Tailed, call
from pfir.backends.tvm.counts.sums import Registers, Sum, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import SparseTile
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import BLOCK_SHAPES, Tail, Workload

# Counted, scalar: of a tile, of a round of the loop over inputs, and of each of its inputs.
_A_TILE, _A_ROUND, _AN_INPUT = 20.0, 2.0, 2.0
_INDEX_BYTES = 4


def block_sparse(target: Target, workload: Workload, tail: Tail, tile: SparseTile) -> Instructions:
    """The instructions of a product by this tile."""
    after = Tailed(tail.bias, tail_of_vector(tail, 1).vector, tail.reads, tail.constants)
    rounds = workload.rounds[BLOCK_SHAPES.index((tile.lanes, tile.unroll))]
    found = counted_sparse(registers_of(target), workload.data[0], workload.out[1], rounds, tile, after)
    return found.instructions(False)


def counted_sparse(
    registers: Registers, rows: int, columns: int, rounds: int, tile: SparseTile, after: Tailed
) -> Sum:
    """The sum over all tiles; `rounds` are those of all blocks over a tile's rows."""
    found, down, value_bytes = Sum(), -(-rows // tile.rows), registers.value_bytes
    tiles, steps = down * (columns // tile.lanes), down * rounds * tile.unroll
    vectors = -(-tile.lanes // registers.lanes)
    held = tile.rows * vectors * registers.share(min(tile.lanes, registers.lanes))
    loads, multiply = tile.rows + vectors, held
    if registers.by_lane:
        found.read(steps, loads + 1, tile.rows * value_bytes + tile.lanes * value_bytes + _INDEX_BYTES)
    else:
        multiply = step(registers.rate, held, loads + 1, tile.copies)
    found.compute(steps, multiply, 0)
    found.compute(tiles, 0, held * (2 * tile.copies - 1 + after.vector))
    found.read(tiles, after.bias * vectors + after.reads * held, (after.bias + after.reads) * held)
    found.write(tiles, held, tile.rows * tile.lanes * value_bytes)
    found.steer(tiles, _A_TILE, 1)
    found.steer(down * rounds, _A_ROUND, 1)
    found.steer(steps, _AN_INPUT, 0)
    call(found, rows)
    return found
