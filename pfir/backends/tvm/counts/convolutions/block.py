"""Instructions of one block of channels of a direct convolution.

A block goes down all rows of the result ("lines"), along each of them in tiles, in each tile down the kernel's rows
that meet the image (`runs.py`). Constants were read from disassembly of generic 64-bit Arm code, and checked under the
emulator over benchmarks/estimator/grids/direct.py.
"""

from __future__ import annotations

from functools import lru_cache

from pfir.backends.tvm.counts.convolutions.image import Image, met, tiles_along
from pfir.backends.tvm.counts.convolutions.runs import Runs
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.counts.vectors import pairs
from pfir.backends.tvm.schedule.blocks import Block

_VALUE, _VECTOR = 4, 16  # bytes
# Scalar instructions of a line (its addresses, and which of the kernel's rows meet the image), and of a tile.
_A_LINE, _A_TILE = 25, 5
# Vector instructions that add up the lanes of a single channel's sums, and of two of them.
_OF_ONE, _OF_TWO = 5, 9


@lru_cache(maxsize=1 << 16)
def of_sums(image: Image, inner: int, lanes: tuple[int, ...], singles: int, rows: int, steps: int) -> Sum:
    """The block's loops over the values under its tiles, of all images.

    Args:
        inner: Channels that are summed over.
        lanes, singles, rows: As in `Block`.
        steps: Values of a round.
    """
    found, runs = Sum(), Runs(image, Block(lanes, singles, rows), steps)
    for columns, tiles, taps in tiles_along(image.columns, rows):
        under = runs.under(inner, columns, tiles, taps)
        runs.add(found, under, image.images * met(image.rows) * tiles)
    return found


@lru_cache(maxsize=1 << 16)
def of_ends(image: Image, odd: int, lanes: tuple[int, ...], singles: int, rows: int, steps: int) -> Sum:
    """The block's tiles before and behind those loops, but for what follows the convolution.

    Args:
        odd: Values that the result's channels are more than whole vectors.
    """
    found, block = Sum(), Block(lanes, singles, rows)
    lines = image.images * image.rows.out
    _add_lines(found, image, block, lines)
    for columns, tiles, _ in tiles_along(image.columns, rows):
        apart = _apart(_VALUE * odd, columns) if image.registers.by_lane else columns
        _add_ends(found, image, block, steps, columns, apart, lines * tiles)
        found.steer(lines * tiles, 0, tiles > 1)
    return found


def results_of(image: Image, lanes: tuple[int, ...], singles: int) -> float:
    """Vectors of the block's results, each of which takes what follows the convolution; two single channels are one."""
    positions = image.images * image.rows.out * image.columns.out
    return positions * (sum(map(image.registers.share, lanes)) + pairs(singles))


def _add_lines(found: Sum, image: Image, block: Block, times: float) -> None:
    """Add the first addresses, and the bias, which stays in registers or on the stack."""
    vectors = len(block.lanes)
    found.steer(times, _A_LINE, 1)
    if image.bias:
        loads = pairs(vectors) if image.registers.by_lane else vectors
        found.read(times, loads + block.singles, _VALUE * block.channels)


def _add_ends(found: Sum, image: Image, block: Block, steps: int, columns: int, apart: int, times: float) -> None:
    """Add sums that begin and end in tiles of so many columns, and their results, those of `apart` columns each by
    itself."""
    vectors, singles, copies = len(block.lanes), block.singles, block.copies(columns, steps)
    sums = singles // 2 * _OF_TWO + singles % 2 * _OF_ONE + pairs(singles) * image.bias
    stores = (columns - apart) * pairs(vectors) + apart * vectors + columns * pairs(singles)
    found.compute(times, 0, columns * (vectors * (2 * copies - 1) + singles + sums))
    found.write(times, stores, columns * _VALUE * block.channels)
    found.steer(times, _A_TILE + (apart * vectors / 2 if image.registers.by_lane else 0), 0)


def _apart(step: int, count: int) -> int:
    """The number of these addresses, so many bytes apart, that do not lie whole vectors behind the first."""
    return count - -(-count // (1 if step % _VECTOR == 0 else 2 if step % (_VECTOR // 2) == 0 else 4))
