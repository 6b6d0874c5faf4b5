"""Instructions of matrix products with a constant right side (kernels/products/product.py).

Vector instructions, loads and stores follow from what the generators write; scalar instructions and branches from
constants of each level of loops, found by reading disassembly and by counting the rounds of each loop under the
emulator for generic 64-bit code, at one to 784 rows and 1 to 1280 channels; the grid product of benchmarks/estimator
checks them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.sums import PAIR_BYTES, Registers, Sum, is_half, registers_of
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.products import Blocks, plan
from pfir.backends.tvm.schedule.tile_kinds import DottedTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.instructions import Instructions
from pfir.target import HALF_TERMS, Target
from pfir.workload import Tail, Workload

# Accumulators that hide the latency of a multiply-add (kernels/products/product.py).
_ENOUGH = 8
_REGISTER_BYTES = 16
# Multiply-adds of a tile up to which LLVM writes out the loop over input channels.
_WRITTEN_OUT = 230
# Registers that weights and sums take together where LLVM holds the weights of a single block around the loop of rows.
_HELD = 23
# Counted, scalar: of a tile, of one among several blocks; of a row whose values lie across 16 bytes, more among several
# blocks; of a vector of results that lies so, of one whose tail reads a tensor; of a round of a loop, and more of one
# over many rows of such values.
_A_TILE, _OF_BLOCKS, _RAGGED, _RAGGED_BLOCKS = 7.0, 11.0, 1.0, 2.0
_RAGGED_RESULT, _READ = 1.2, 2.2
_CONSTANT = (0.75, 1.2)  # loads and scalar instructions of a vector of constants, counted with PRelu's slopes
_A_ROUND, _MANY_ROWS, _MORE = 3.0, 6, 6.0
# Of a call more than one of a kernel of one input: loads, stores, scalar, branches; for one to three rows, and more.
_CALL_OF_FEW, _CALL = (40.0, 8.0, 30.0, 35.0), (65.0, 18.0, 80.0, 82.0)
_FEW_ROWS = 4
_WIDENED = 5.0  # instructions to keep, widen and add one register of float16
# Instructions of a row's sum across lanes, beside its multiply-adds.
_ACROSS = 1.5
_ACROSS_RAGGED = 2.0  # scalar of a vector of its steps over rows of values that lie across 16 bytes


class Tailed(NamedTuple):
    """What a product begins with and what follows it.

    Args:
        bias: Whether there is one.
        vector: Instructions of the nodes behind the sums, of one vector.
        reads: Tensors that those read.
        constants: Constants of one value a channel that those read.
    """

    bias: bool
    vector: float
    reads: int
    constants: int = 0


def product(target: Target, workload: Workload, tail: Tail, tile: ProductTile) -> Instructions:
    """The instructions of a matrix product by this tile."""
    (rows, inner), columns = workload.data, workload.out[1]
    after = Tailed(tail.bias, tail_of_vector(tail, 1).vector, tail.reads, tail.constants)
    return counted(registers_of(target), rows, inner, columns, tile, after).instructions(is_half(target))


@lru_cache(maxsize=16384)
def counted(registers: Registers, rows: int, inner: int, columns: int, tile: ProductTile, after: Tailed) -> Sum:
    """The sum over all blocks."""
    found, pitch, dotted = Sum(), columns * registers.value_bytes, isinstance(tile, DottedTile)
    aligned = pitch % _REGISTER_BYTES == 0
    for tiles, part in _parts(rows, columns, type(tile), tile.lanes, tile.vectors, tile.rows):
        written = _written(registers, inner, tile.unroll, part)
        near = min(part.rows, PAIR_BYTES // pitch + 1) if aligned and registers.by_lane and not after.constants else 0
        found.add(_accumulated(registers, inner, tile.unroll, part, after.bias), tiles)
        found.add(_finished(registers, part, near, after), tiles)
        found.steer(tiles, _addresses(registers, inner, part, written, aligned or dotted), 0)
        held = len(part.lanes) * (inner + part.rows) + dotted * -(-inner // FEWEST_LANES)
        stay = written and not part.several and held <= _HELD and registers.by_lane
        if registers.by_lane:
            found.read(1 if stay else tiles, len(part.lanes) * inner / 2, part.width * inner * registers.value_bytes)
    if dotted:
        _add_last_column(found, registers, rows, inner, after)
    call(found, rows)
    return found


class Part(NamedTuple):
    """Register tiles alike.

    Args:
        rows: Of each.
        lanes: Values of each register of sums in a row of them, those of all rows that share it.
        registers: How many of each there are.
        pieces: Lanes of each store of a row.
        filled: Whether all lanes of the vectors are columns.
        several: Whether there are several such blocks.
    """

    rows: int
    lanes: tuple[int, ...]
    registers: tuple[int, ...]
    pieces: tuple[int, ...]
    filled: bool
    several: bool

    @property
    def width(self) -> int:
        return sum(self.lanes)


@lru_cache(maxsize=8192)
def _parts(
    rows: int, columns: int, kind: type[ProductTile], lanes: int, vectors: int, tall: int
) -> tuple[tuple[int, Part], ...]:
    """The register tiles of a product, those alike with their number."""
    tile = kind(lanes, vectors, tall, 1)
    return tuple(_part(rows, blocks, tile) for blocks in plan(columns, tile))


def _part(rows: int, blocks: Blocks, tile: ProductTile) -> tuple[int, Part]:
    tall, vectors = blocks.rows(rows, tile), blocks.vectors
    part = Part(
        tall,
        tuple(vector.width for vector in vectors),
        tuple(-(-tall // vector.rows) for vector in vectors),
        tuple(lanes for vector in vectors for _, lanes in vector.pieces),
        all(vector.columns >= vector.lanes for vector in vectors),
        blocks.count > 1,
    )
    return blocks.count * -(-rows // tall), part


def _held(registers: Registers, part: Part) -> float:
    """Registers of sums, in units of whole ones."""
    if registers.by_lane:
        return sum(part.registers)
    return sum(count * registers.share(lanes) for lanes, count in zip(part.lanes, part.registers, strict=True))


def _written(registers: Registers, inner: int, unroll: int, part: Part) -> bool:
    """Whether LLVM writes out the loop over input channels."""
    rounds = inner // unroll
    return rounds <= 1 or rounds * unroll * _held(registers, part) <= _WRITTEN_OUT


@lru_cache(maxsize=16384)
def _accumulated(registers: Registers, inner: int, unroll: int, part: Part, bias: bool) -> Sum:
    """The sums of one tile: where they begin, multiply-adds, and values of each row."""
    found, held, value_bytes = Sum(), _held(registers, part), registers.value_bytes
    count, rounds = sum(part.registers), inner // unroll
    # Steps take turns among copies of the sums, as many as hide the latency.
    copies = max(1, min(unroll, -(-_ENOUGH // count), registers.held // 2 // count))
    read = bias and part.several
    multiply = held if registers.by_lane else step(registers.rate, held, part.rows + len(part.lanes), copies)
    found.compute(1, multiply * inner, held * (2 * copies - 1) - (len(part.lanes) if read else 0))
    if read:  # the bias comes into the first row's sums
        found.read(1, len(part.lanes) / 2, part.width * value_bytes)
    if registers.by_lane:
        found.read(1, _values(registers, inner, unroll, part.rows), part.rows * inner * value_bytes)
    if value_bytes == 2:
        _add_parts(found, held, inner, unroll)
    if not _written(registers, inner, unroll, part):
        ragged = registers.by_lane and inner * value_bytes % _REGISTER_BYTES
        found.steer(rounds, _A_ROUND + (_MORE if ragged and part.rows >= _MANY_ROWS else 0), 1)
    found.steer(1, _A_TILE + (_OF_BLOCKS if part.several else 0), 1)
    return found


def _values(registers: Registers, inner: int, unroll: int, rows: int) -> float:
    """Loads of the input values of so many rows, each by itself; of rows no longer than a register, which lie one
    behind the other, whole registers of them and pairs of these."""
    if inner & (inner - 1) == 0 and 1 < inner <= registers.lanes:
        return -(-rows * inner // registers.lanes) / (2 if inner == registers.lanes else 1)
    return rows * (inner // unroll * _loads(unroll, registers) + _loads(inner % unroll, registers))


def _loads(count: int, registers: Registers) -> float:
    """Loads of so many values side by side: by whole registers, then by halves, quarters and so on."""
    whole, rest = divmod(count, registers.lanes)
    return whole + rest.bit_count()


def _add_parts(found: Sum, held: float, inner: int, unroll: int) -> None:
    """Sums of float16 in parts that float32 adds up: kept, widened, and added."""
    rounds, most = inner // unroll, HALF_TERMS // unroll
    if rounds > most:
        parts = -(-rounds // most) + (inner % unroll > 0)
        found.write(parts, held, held * _REGISTER_BYTES)
        found.read(parts, held, held * _REGISTER_BYTES)
        found.compute(parts, 0, _WIDENED * held)


def _addresses(registers: Registers, inner: int, part: Part, written: bool, aligned: bool) -> float:
    """Scalar instructions of a tile for rows whose values or results lie across 16 bytes."""
    if not registers.by_lane or (written and not part.several):  # else LLVM has them at hand
        return 0.0
    values = results = 0.0
    if inner * registers.value_bytes % _REGISTER_BYTES:
        values = part.rows * (_RAGGED_BLOCKS if part.several and not written else _RAGGED)
    if not aligned:
        results = part.rows * len(part.lanes) * _RAGGED_RESULT
    return max(values, results)


@lru_cache(maxsize=16384)
def _finished(registers: Registers, part: Part, near: int, after: Tailed) -> Sum:
    """What follows the sums of one tile, and their stores; two go at once in the rows that are near enough."""
    found, rows = Sum(), part.rows
    for lanes in part.pieces:
        share, value_bytes = registers.share(lanes), lanes * registers.value_bytes
        found.compute(rows, 0, after.vector * share)
        found.read(rows, after.reads * share, after.reads * value_bytes)
        found.write(rows, share, value_bytes)
    if registers.by_lane:
        found.compute(rows, 0, 0 if part.filled else after.bias)  # which comes in pieces
        found.write(near * (len(part.lanes) // 2), -1, 0)
        found.steer(rows * len(part.lanes), after.reads * _READ, 0)
        # Constants along the channels are loaded once a tile, and results stored one by one among what they compute.
        constants, (loads, scalar) = after.constants * len(part.lanes), _CONSTANT
        found.read(1, constants * loads, constants * part.lanes[0] * registers.value_bytes)
        found.steer(1, constants * scalar, 0)
    return found


def _add_last_column(found: Sum, registers: Registers, rows: int, inner: int, after: Tailed) -> None:
    """The column behind the blocks of a dotted tile, summed across lanes of input channels."""
    steps, tiles = -(-inner // FEWEST_LANES), -(-rows // FEWEST_LANES)
    found.compute(tiles * FEWEST_LANES, inner // FEWEST_LANES, 1 + _ACROSS)
    found.read(tiles, steps, steps * FEWEST_LANES * registers.value_bytes)
    found.compute(tiles, 0, after.vector + after.bias)
    if inner * registers.value_bytes % _REGISTER_BYTES:
        found.steer(tiles * steps, _ACROSS_RAGGED, 0)
    found.write(tiles, FEWEST_LANES, FEWEST_LANES * registers.value_bytes)


def call(found: Sum, rows: int) -> None:
    """What the call of a kernel takes."""
    found.call(*(_CALL_OF_FEW if rows < _FEW_ROWS else _CALL))
