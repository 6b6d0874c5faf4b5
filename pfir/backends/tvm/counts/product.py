"""Instructions of matrix products with a constant right side (kernels/products/product.py), and of two that are both
computed (kernels/products/matmul.py).

Vector instructions, loads and stores follow from what the generators write; scalar instructions and branches from
constants of each level of loops, found by reading disassembly and by counting the rounds of each loop under the
emulator for generic 64-bit code, at one to 784 rows and 1 to 1280 channels; the grid product of benchmarks/estimator
checks them.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

from pfir.backends.tvm.counts.sums import PAIR_BYTES, Registers, Sum, is_half, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.products import Blocks, plan
from pfir.backends.tvm.schedule.tile_kinds import DottedTile, MatrixTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.instructions import Instructions
from pfir.target import HALF_TERMS, Target
from pfir.workload import Tail, Workload

# Accumulators that hide the latency of a multiply-add (kernels/products/product.py).
_ENOUGH = 8
_REGISTER_BYTES = 16
# Multiply-adds of a tile up to which LLVM writes out the loop over input channels.
_WRITTEN_OUT = 200
# Registers that weights and sums take together where LLVM holds the weights of a single block around the loop of rows.
_HELD = 24
# Counted, scalar: of a tile, of one among several blocks; of a row whose values lie across 16 bytes, more among several
# blocks; of a vector of results that lies so, of one whose tail reads a tensor; of a round of a loop, and more of one
# over many rows of such values.
_A_TILE, _OF_BLOCKS, _RAGGED, _RAGGED_BLOCKS = 7.0, 11.0, 1.0, 2.0
_RAGGED_RESULT, _READ = 1.2, 2.2
_A_ROUND, _MANY_ROWS, _MORE = 3.0, 6, 6.0
# Of a call more than one of a kernel of one input: loads, stores, scalar, branches; for one to three rows, and more.
_CALL_OF_FEW, _CALL = (40.0, 8.0, 30.0, 35.0), (65.0, 18.0, 80.0, 82.0)
_FEW_ROWS = 4
# Instructions of a row's sum across lanes, beside its multiply-adds.
_ACROSS = 1.5


class Tailed(NamedTuple):
    """What a product begins with and what follows it.

    Args:
        bias: Whether there is one.
        vector: Instructions of the nodes behind the sums, of one vector.
        reads: Tensors that those read.
    """

    bias: bool
    vector: float
    reads: int


def product(target: Target, workload: Workload, tail: Tail, tile: ProductTile) -> Instructions:
    """The instructions of a matrix product by this tile."""
    (rows, inner), columns = workload.data, workload.out[1]
    after = Tailed(tail.bias, tail_of_vector(tail, 1).vector, tail.reads)
    return counted(registers_of(target), rows, inner, columns, tile, after).instructions(is_half(target))


@lru_cache(maxsize=16384)
def counted(registers: Registers, rows: int, inner: int, columns: int, tile: ProductTile, after: Tailed) -> Sum:
    """The sum over all blocks."""
    found = Sum()
    for blocks in plan(columns, tile):
        _add_blocks(found, registers, (rows, inner, columns), tile, blocks, after)
    if isinstance(tile, DottedTile):
        _add_last_column(found, registers, rows, inner, after)
    call(found, rows)
    return found


def _add_blocks(
    found: Sum,
    registers: Registers,
    sizes: tuple[int, int, int],
    tile: ProductTile,
    blocks: Blocks,
    after: Tailed,
) -> None:
    """Blocks alike over all rows."""
    rows, inner, columns = sizes
    tall = blocks.rows(rows, tile)
    tiles = blocks.count * -(-rows // tall)
    held = [(vector.width, -(-tall // vector.rows)) for vector in blocks.vectors]
    sums = sum(count * registers.share(width) for width, count in held)
    copies = _copies(registers, sum(count for _, count in held), tile.unroll)
    rounds, rest = divmod(inner, tile.unroll)
    written = rounds * tile.unroll * sums <= _WRITTEN_OUT or rounds <= 1
    ragged = inner * registers.value_bytes % _REGISTER_BYTES > 0 and registers.by_lane
    several = blocks.count > 1
    found.compute(tiles, sums * inner, sums * (2 * copies - 1) - (len(held) if several and after.bias else 0))
    _load(found, registers, tiles, tall, inner, tile.unroll, blocks, written)
    if after.bias and several:
        found.read(tiles, len(held) / 2, blocks.width * registers.value_bytes)
    _finish(found, registers, tiles, tall, blocks, columns, after)
    _add_parts(found, registers, tiles, sums, inner, tile.unroll)
    scalar = _A_TILE + (_OF_BLOCKS if several else 0)
    across = columns * registers.value_bytes % _REGISTER_BYTES > 0 and registers.by_lane
    if several or not written:  # else LLVM has all addresses at hand
        of_rows = tall * (_RAGGED_BLOCKS if several and not written else _RAGGED) if ragged else 0
        scalar += max(of_rows, tall * len(held) * _RAGGED_RESULT if across else 0)
    found.steer(tiles, scalar, 1)
    if not written:
        found.steer(tiles * rounds, _A_ROUND + (_MORE if ragged and tall >= _MANY_ROWS else 0), 1)


def _copies(registers: Registers, count: int, unroll: int) -> int:
    """The sums of each register among which steps take turns."""
    return max(1, min(unroll, -(-_ENOUGH // count), registers.count // 2 // count))


def _load(
    found: Sum,
    registers: Registers,
    tiles: float,
    tall: int,
    inner: int,
    unroll: int,
    blocks: Blocks,
    written: bool,
) -> None:
    """Values of each row and weights of each vector; weights that stay in registers come once."""
    rounds, rest = divmod(inner, unroll)
    width, count = blocks.width, len(blocks.vectors)
    value_bytes = registers.value_bytes
    if not registers.by_lane:
        found.read(tiles, count * inner, width * inner * value_bytes)
        found.read(tiles, count * tall * inner, count * tall * inner * value_bytes)
        return
    values = rounds * _loads(unroll, registers) + _loads(rest, registers)
    found.read(tiles, tall * values, tall * inner * value_bytes)
    stay = written and blocks.count == 1 and count * (inner + tall) <= _HELD
    found.read(1 if stay else tiles, count * inner / 2, width * inner * value_bytes)


def _loads(count: int, registers: Registers) -> float:
    """Loads of so many values side by side: by whole registers, of what is left two of three."""
    whole, rest = divmod(count, registers.lanes)
    return whole + (0 if not rest else 1 if rest & (rest - 1) == 0 else 2)


def _finish(
    found: Sum, registers: Registers, tiles: float, tall: int, blocks: Blocks, columns: int, after: Tailed
) -> None:
    """What follows the sums, and their stores."""
    for vector in blocks.vectors:
        if registers.by_lane and vector.columns < vector.lanes:  # a bias comes in pieces
            found.compute(tiles * tall, 0, after.bias)
        for _, lanes in vector.pieces:
            share, value_bytes = registers.share(lanes), lanes * registers.value_bytes
            found.compute(tiles * tall, 0, after.vector * share)
            found.read(tiles * tall, after.reads * share, after.reads * value_bytes)
            found.write(tiles * tall, share, value_bytes)
    results, pitch = tiles * tall * len(blocks.vectors), columns * registers.value_bytes
    if not registers.by_lane:
        return
    if pitch % _REGISTER_BYTES == 0:  # two go at once where the address of the first row reaches them
        found.write(tiles * min(tall, PAIR_BYTES // pitch + 1) * (len(blocks.vectors) // 2), -1, 0)
    found.steer(results, after.reads * _READ, 0)


def _add_parts(found: Sum, registers: Registers, tiles: float, sums: float, inner: int, unroll: int) -> None:
    """Sums of float16 in parts that float32 adds up: kept, widened, and added."""
    if registers.value_bytes == 4:
        return
    rounds = inner // unroll
    parts = -(-rounds // (HALF_TERMS // unroll)) + (inner % unroll > 0)
    if parts > 1 and rounds > HALF_TERMS // unroll:
        found.write(tiles * parts, sums, sums * _REGISTER_BYTES)
        found.read(tiles * parts, sums, sums * _REGISTER_BYTES)
        found.compute(tiles * parts, 0, 5 * sums)


def _add_last_column(found: Sum, registers: Registers, rows: int, inner: int, after: Tailed) -> None:
    """The column behind the blocks of a dotted tile, summed across lanes of input channels."""
    steps, tiles = -(-inner // FEWEST_LANES), -(-rows // FEWEST_LANES)
    found.compute(tiles * FEWEST_LANES, inner // FEWEST_LANES, 1 + _ACROSS)
    found.read(tiles, steps, steps * FEWEST_LANES * registers.value_bytes)
    found.compute(tiles, 0, after.vector + after.bias)
    found.write(tiles, FEWEST_LANES, FEWEST_LANES * registers.value_bytes)


def call(found: Sum, rows: int) -> None:
    """What the call of a kernel takes."""
    loads, stores, scalar, branches = _CALL_OF_FEW if rows < _FEW_ROWS else _CALL
    found.read(1, loads, 8 * loads)
    found.write(1, stores, 8 * stores)
    found.steer(1, scalar, branches)


def matmul(target: Target, workload: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """The instructions of products of matrices `[.., M, K]` and `[.., K, N]`, both computed before."""
    registers, found = registers_of(target), Sum()
    (*batch, rows, inner), columns = workload.data, workload.out[-1]
    down, across = -(-rows // tile.rows), -(-columns // tile.block)
    tiles, sums = prod(batch) * down * across, tile.rows * tile.vectors
    share, value_bytes = registers.share(tile.lanes), tile.lanes * 4
    rounds, rest = divmod(inner, tile.unroll)
    found.compute(tiles, sums * inner * share, sums * share * (1 + tail_of_vector(tail, 1).vector))
    if registers.by_lane:
        found.read(tiles * tile.rows, rounds * _loads(tile.unroll, registers) + rest, inner * 4)
    else:
        found.read(tiles, sums * inner, sums * inner * 4)
    found.read(tiles, inner * tile.vectors / (2 if registers.by_lane else 1), inner * tile.vectors * value_bytes)
    found.read(tiles, tail.reads * sums * share, tail.reads * sums * value_bytes)
    found.write(tiles, sums * share, sums * value_bytes)
    found.steer(tiles, _A_TILE + _OF_BLOCKS, 2)
    found.steer(tiles * (rounds + rest), _A_ROUND, 1)
    call(found, rows)
    return found.instructions(False)
