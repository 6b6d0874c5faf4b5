"""Instructions of matrix products of two tensors that are both computed (kernels/products/matmul.py).

Vector instructions, loads and stores follow from what the generator writes; constants of scalar instructions were read
from disassembly of generic 64-bit Arm code and checked under the emulator, by the grid product of benchmarks/estimator.
"""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.sums import Sum, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

_VALUE_BYTES, _REGISTER_BYTES = 4, 16
# Counted, scalar: of a tile, and more where the columns lie across 16 bytes; of a round of a loop, and more of each of
# its steps there.
_A_TILE, _A_RAGGED_TILE, _A_ROUND, _A_RAGGED_STEP = 36.0, 12.0, 4.0, 2.5
# Of a call more than one of a kernel of one input: loads, stores, scalar, branches.
_CALL = (310.0, 255.0, 650.0, 420.0)


def matmul(target: Target, workload: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """The instructions of products of matrices `[.., M, K]` and `[.., K, N]`."""
    registers, found = registers_of(target), Sum()
    (*_, rows, inner), columns = workload.data, workload.out[-1]
    down, across = -(-rows // tile.rows), -(-columns // tile.block)
    tiles, sums, share = prod(workload.out[:-2]) * down * across, tile.rows * tile.vectors, registers.share(tile.lanes)
    ragged = registers.by_lane and columns * _VALUE_BYTES % _REGISTER_BYTES > 0
    after, vector_bytes = tail_of_vector(tail, 1).vector, tile.lanes * _VALUE_BYTES
    multiply = sums * share
    if registers.by_lane:
        _load(found, tiles * inner, tile, ragged)
    else:
        multiply = step(registers.rate, multiply, tile.rows + tile.vectors)
    found.compute(tiles, multiply * inner, sums * share * (1 + after))
    found.read(tiles, tail.reads * sums * share, tail.reads * sums * vector_bytes)
    pairs = tile.vectors // 2 * tile.rows * (0.4 if ragged else 1) if registers.by_lane else 0
    found.write(tiles, sums * share - pairs, sums * vector_bytes)
    rounds, rest = divmod(inner, tile.unroll)
    found.steer(tiles, _A_TILE + (_A_RAGGED_TILE if ragged else 0), 1)
    found.steer(tiles * (rounds + rest), _A_ROUND, 1)
    found.steer(tiles * inner if ragged else 0, _A_RAGGED_STEP, 0)
    found.call(*_CALL)
    return found.instructions(False)


def _load(found: Sum, steps: float, tile: MatrixTile, ragged: bool) -> None:
    """Values of the left matrix, one by one, and vectors of the right one."""
    found.read(steps, tile.rows, tile.rows * _VALUE_BYTES)
    pairs = 0 if ragged and tile.rows == 1 else tile.vectors // 2
    found.read(steps, tile.vectors - pairs, tile.vectors * tile.lanes * _VALUE_BYTES)
