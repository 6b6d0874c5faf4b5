"""Instructions of matrix products that skip blocks of zeros (kernels/products/block_sparse.py).

Vector instructions, loads and stores follow from what the generator writes; constants of scalar instructions and
branches were read from disassembly of generic 64-bit Arm code and checked under the emulator, by the grid sparse of
benchmarks/estimator.
"""

from __future__ import annotations

from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.products.product import Tailed, call
from pfir.backends.tvm.counts.sums import PAIR_BYTES, Registers, Sum, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import SparseTile
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import BLOCK_SHAPES, Tail, Workload

# Counted, scalar: of a round of the loop over inputs; of a tile, and of each input, where there are several tiles of
# rows, a single one, and a single row.
_A_ROUND = 5.0
_SEVERAL_TILES, _A_SINGLE_TILE, _A_SINGLE_ROW = (20.0, 2.0), (10.0, 1.0), (10.0, 0.0)
_INDEX_BYTES = _VALUE_BYTES = 4
_PAIRED = 2  # weights, indices or biases that lie side by side, loaded at once
_LISTS = (30.0, 6.0, 20.0, 25.0)  # what a call takes for two more inputs: loads, stores, scalar, branches
_READ = 2.2  # scalar instructions of a vector of a tensor that is read behind the sums


def block_sparse(target: Target, workload: Workload, tail: Tail, tile: SparseTile) -> Instructions:
    """The instructions of a product by this tile."""
    after = Tailed(tail.bias, tail_of_vector(tail, 1).vector, tail.reads, tail.constants)
    return counted_sparse(registers_of(target), workload, tile, after).instructions(False)


def counted_sparse(registers: Registers, workload: Workload, tile: SparseTile, after: Tailed) -> Sum:
    """The sum over all tiles."""
    found, down = Sum(), -(-workload.data[0] // tile.rows)
    tiles, rounds = down * (workload.out[1] // tile.lanes), down * workload.rounds[_place(tile)]
    vectors = -(-tile.lanes // registers.lanes)
    held = tile.rows * vectors * registers.share(min(tile.lanes, registers.lanes))
    a_tile, an_input = _SEVERAL_TILES if down > 1 else _A_SINGLE_TILE if tile.rows > 1 else _A_SINGLE_ROW
    multiply = held
    if registers.by_lane:
        found.read(rounds, tile.unroll * (tile.rows + (vectors + 1) / _PAIRED), _read_bytes(registers, tile))
        found.steer(rounds, _A_ROUND + tile.unroll * an_input, 1)
    else:
        multiply = step(registers.rate, held, tile.rows + vectors + 1, tile.copies)
    found.compute(rounds, tile.unroll * multiply, 0)
    found.steer(tiles, a_tile + after.reads * held * _READ, 3)
    _finish(found, registers, workload.out[1], tiles, held, tile, after)
    call(found, workload.data[0])
    found.call(*_LISTS)
    return found


def packed_bytes(workload: Workload, tile: SparseTile) -> int:
    """Bytes of the weights that are kept, of their inputs, and of where each block's begin."""
    kept = workload.rounds[_place(tile)] * tile.unroll
    return kept * (tile.lanes * _VALUE_BYTES + _INDEX_BYTES) + (workload.out[1] // tile.lanes + 1) * _INDEX_BYTES


def _read_bytes(registers: Registers, tile: SparseTile) -> int:
    """What a round reads."""
    return tile.unroll * ((tile.rows + tile.lanes) * registers.value_bytes + _INDEX_BYTES)


def _finish(
    found: Sum, registers: Registers, columns: int, tiles: int, held: float, tile: SparseTile, after: Tailed
) -> None:
    """What stands around the sums of so many tiles: where they begin, the sum over copies, the tail and the stores, two
    at once in the rows that are near enough."""
    vectors, whole = -(-tile.lanes // registers.lanes), registers.lanes * registers.value_bytes
    begun = vectors if after.bias else 0
    found.compute(tiles, 0, held * (2 * tile.copies - 1 + after.vector) - begun)
    found.read(tiles, 1 + begun - begun // _PAIRED + after.reads * held, (begun + after.reads * held) * whole)
    near = min(tile.rows, PAIR_BYTES // (columns * registers.value_bytes) + 1) if registers.by_lane else 0
    found.write(tiles, held - near * (vectors // _PAIRED), held * whole)


def _place(tile: SparseTile) -> int:
    return BLOCK_SHAPES.index((tile.lanes, tile.unroll))
