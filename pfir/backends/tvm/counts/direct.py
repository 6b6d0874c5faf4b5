"""Instructions of direct convolutions, counted along the loops that kernels/direct writes.

A block of channels goes down all rows of the result ("lines"), along each of them in tiles, in each tile down the
kernel's rows that meet the image, and in each of those along runs of values, in rounds of `steps`. What a loop adds in
scalar instructions was read from disassembly of generic 64-bit Arm code, and checked under the emulator over
benchmarks/estimator/grids/direct.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.blocks import Block, Direct, bordered
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

Stretches = tuple[tuple[int, int], ...]

VALUE, VECTOR = 4, 16  # bytes

# A call checks its arguments, and saves and restores registers.
_CALL = Instructions(load=82, load_bytes=656, store=48, store_bytes=384, scalar=160, branch=82)
# Scalar instructions of a line (its addresses, and which of the kernel's rows meet the image), of a tile, of a row of
# the kernel, of a tap that is a run of its own, of a run that is a loop, of a round of it, and of a round's values that
# fill no whole one.
_A_LINE, _A_TILE, _A_ROW, _A_TAP, _A_RUN, _A_ROUND, _A_REST = 25, 5, 4, 3, 4, 3, 3
# Of a run that is written out in a row of the kernel with others that are loops.
_A_STRETCH = 6
# LLVM writes out a loop of no more than so many instructions, those of a round by its own measure.
_WRITTEN_OUT, _BESIDE = 298, 3
# Multiply-adds of a run up to which each of its rounds has a barrier (kernels/written.py).
_FENCED = 400
# Bytes around an address that a load reaches which does not lie whole vectors apart.
_REACH = 256
# Vector instructions that add up the lanes of a single channel's sums, and of two of them.
_SUMS = (0, 5, 9)


class Axis(NamedTuple):
    """Rows or columns: sizes of the image and of the result, the kernel's taps, stride, dilation, pad at the begin."""

    size: int
    out: int
    kernel: int
    stride: int
    step: int
    pad: int

    @property
    def copied(self) -> Axis:
        """The same over a copy of the image with its border."""
        return self._replace(size=(self.out - 1) * self.stride + (self.kernel - 1) * self.step + 1, pad=0)


class Image(NamedTuple):
    """A convolution but for the channels that it sums over.

    Args:
        rows, columns: The sizes that the blocks read, perhaps of a copy.
        images: Batch times groups.
        group: Groups.
        beside: Whether the taps of a row of the kernel are one run.
        bias: Whether sums begin with one.
        lanes: Of the core's vectors.
        by_lane: Whether values are multiplied from the lanes of a register; else each comes from memory.
        fenced: Whether rounds have barriers.
    """

    rows: Axis
    columns: Axis
    images: int
    group: int
    beside: bool
    bias: bool
    lanes: int
    by_lane: bool
    fenced: bool


@dataclass(slots=True)
class Count:
    """Instructions by class, as in `Instructions`, and vectors of results, each of which takes a tail."""

    multiply: float = 0.0
    vector: float = 0.0
    load: float = 0.0
    load_bytes: float = 0.0
    store: float = 0.0
    store_bytes: float = 0.0
    scalar: float = 0.0
    branch: float = 0.0
    results: float = 0.0

    def instructions(self, times: float, each: Instructions) -> Instructions:
        """So many times these, where a vector of results takes `each`."""
        tails = times * self.results
        return Instructions(
            multiply=times * self.multiply,
            vector=times * self.vector + tails * each.vector,
            load=times * self.load + tails * each.load,
            load_bytes=times * self.load_bytes + tails * each.load_bytes,
            store=times * self.store,
            store_bytes=times * self.store_bytes,
            scalar=times * self.scalar + tails * each.scalar,
            branch=times * self.branch + tails * each.branch,
        )


def direct(target: Target, workload: Workload, tail: Tail, plan: Direct) -> Instructions:
    """The instructions of a kernel by this plan."""
    image, each = image_of(target, workload, tail.bias), tail_of_vector(tail, target.core.vector_bytes)
    outputs, total = workload.out[1], _CALL + _copy(workload, image)
    for block in plan.blocks:
        sums = of_sums(image, workload.channels, block.lanes, block.singles, block.rows, plan.steps)
        ends = of_ends(image, outputs % image.lanes, block.lanes, block.singles, block.rows, plan.steps)
        total += sums.instructions(block.count, each) + ends.instructions(block.count, each)
    return total


def image_of(target: Target, workload: Workload, bias: bool) -> Image:
    """What of the work does not depend on the channels that are summed over."""
    sizes = workload.data[2:], workload.out[2:], workload.kernel, workload.strides, workload.dilations, workload.pads
    rows, columns = (Axis(*axis) for axis in zip(*sizes, strict=True))
    if bordered(workload.order, workload.data[1]):
        rows, columns = rows.copied, columns.copied
    images, beside = workload.out[0] * workload.group, workload.group == 1 and workload.dilations[1] == 1
    core = target.lanes, by_lane(target), target.arm64
    return Image(rows, columns, images, workload.group, beside, bias, *core)


def _copy(workload: Workload, image: Image) -> Instructions:
    """A copy of the image with its border, where one is read."""
    if not bordered(workload.order, workload.data[1]):
        return Instructions()
    values = workload.out[0] * image.rows.size * image.columns.size * workload.data[1]
    return Instructions(
        load=values / 2, load_bytes=4 * values, store=values / 3, store_bytes=4 * values, scalar=values / 2
    )


@lru_cache(maxsize=1 << 16)
def of_sums(image: Image, inner: int, lanes: tuple[int, ...], singles: int, rows: int, steps: int) -> Count:
    """The instructions of one block's loops over the values under its tiles, of all images.

    Args:
        inner: Channels that are summed over.
        lanes, singles, rows: As in `Block`.
        steps: Values of a round.
    """
    count, made = Count(), _Made(image, Block(lanes, singles, rows), steps)
    for columns, tiles, stretches in tiles_along(image.columns, rows):
        made.rows(count, inner, columns, image.images * met(image.rows) * tiles, stretches)
    return count


@lru_cache(maxsize=1 << 16)
def of_ends(image: Image, odd: int, lanes: tuple[int, ...], singles: int, rows: int, steps: int) -> Count:
    """The instructions of one block's tiles before and behind those loops, but for what follows the convolution.

    Args:
        odd: Values that the result's channels are more than whole vectors.
    """
    count, made = Count(), _Made(image, Block(lanes, singles, rows), steps)
    lines = image.images * image.rows.out
    made.line(count, lines)
    for columns, tiles, _ in tiles_along(image.columns, rows):
        made.ends(count, odd, columns, lines * tiles)
        count.branch += lines * tiles * (tiles > 1)
    return count


@dataclass(frozen=True, slots=True)
class _Made:
    """The code of a block."""

    image: Image
    block: Block
    steps: int

    def line(self, count: Count, times: float) -> None:
        """The first addresses, and the bias, which stays in registers or on the stack."""
        vectors, singles = len(self.block.lanes), self.block.singles
        count.scalar += times * _A_LINE
        count.branch += times
        if self.image.bias:
            count.load += times * (self._loads(vectors) + singles)
            count.load_bytes += times * VALUE * self.block.channels

    def ends(self, count: Count, odd: int, columns: int, times: float) -> None:
        """Sums that begin and end in tiles of so many columns, and their results, but for what follows."""
        lanes, singles, image = self.block.lanes, self.block.singles, self.image
        vectors, copies = len(lanes), self.block.copies(columns, self.steps)
        pairs = -(-singles // 2)
        sums = pairs * _SUMS[2] - singles % 2 * (_SUMS[2] - _SUMS[1]) + pairs * image.bias
        apart = _apart(VALUE * odd, columns) if image.by_lane else columns
        count.vector += times * columns * (vectors * (2 * copies - 1) + singles + sums)
        count.results += times * columns * (self._whole(lanes) + pairs)
        count.store += times * ((columns - apart) * -(-vectors // 2) + apart * vectors + columns * pairs)
        count.store_bytes += times * columns * VALUE * self.block.channels
        count.scalar += times * (_A_TILE + apart * vectors / 2 * image.by_lane)

    def rows(self, count: Count, inner: int, columns: int, times: float, stretches: Stretches) -> None:
        """Rows of the kernel under tiles of so many columns, some of whose taps meet the image for fewer of them."""
        image = self.image
        runs = [(who, inner * (taps if image.beside else 1), 1 if image.beside else taps) for taps, who in stretches]
        written = [self._written_out(who, length) for who, length, _ in runs]
        whole = all(written) and image.beside
        count.scalar += times * _A_ROW
        count.branch += times
        for out, (who, length, taps) in zip(written, runs, strict=True):
            self._run(count, who, times * taps, length)
            first = who < columns and image.columns.pad > 0
            if not out:
                self._looped(count, who, times * taps, length, self._addresses(inner, who, first))
            elif not whole:
                count.scalar += times * taps * (_A_STRETCH + first * (length // self.steps) * who)
            if not image.beside:
                count.scalar += times * taps * _A_TAP
                count.branch += times * taps

    def _run(self, count: Count, who: int, times: float, length: int) -> None:
        """A run of values of so many columns: what it multiplies and loads, and barriers."""
        lanes, singles, image = self.block.lanes, self.block.singles, self.image
        rounds, rest = divmod(length, self.steps)
        ends = rounds + (rest > 0)
        whole, vectors = self._whole(lanes), len(lanes)
        count.multiply += times * who * (length * whole + ends * singles)
        count.load_bytes += times * length * VALUE * sum(lanes)
        together = image.by_lane or singles > 0
        if together:
            count.load += times * ends * (who + singles)
            count.load_bytes += times * ends * (who + singles) * VALUE * self.steps
            count.vector += times * (rest > 0 and singles > 0) * who
        if not image.by_lane:
            count.load += times * length * vectors + times * length * who * vectors
            count.load_bytes += times * length * who * vectors * VALUE
            return
        # Of a loop's rest the weights lie too far from the pointer for pairs.
        paired = length if self._written_out(who, length) else length - rest
        count.load += times * (self._loads(paired * vectors) + (length - paired) * vectors)
        count.scalar += times * ((rest > 0) + rounds * self._barrier(who, length)) * image.fenced

    def _looped(self, count: Count, who: int, times: float, length: int, addresses: float) -> None:
        """What a run takes that is a loop."""
        rounds, rest = divmod(length, self.steps)
        count.scalar += times * (_A_RUN + rounds * (_A_ROUND + addresses) + (rest > 0) * (_A_REST + who))
        count.branch += times * rounds

    def _addresses(self, inner: int, who: int, first: bool) -> float:
        """Addresses of values that a round adds up: each, but for those that one register reaches."""
        image = self.image
        apart = VALUE * inner * image.group * image.columns.stride
        if not image.by_lane or apart % VECTOR == 0:
            return float(self.block.singles > 0)
        if (who - 1) * apart <= _REACH:
            return 0.0
        return who + 1 if image.columns.pad > 0 and not first else (who + 1) // 2

    def _written_out(self, who: int, length: int) -> bool:
        """Whether LLVM writes out the loop over a run."""
        rounds, vectors, singles = length // self.steps, len(self.block.lanes), self.block.singles
        size = who * (vectors * self.steps + singles) + vectors * self.steps + who + singles
        return rounds < 2 or rounds * (size + _BESIDE + self._barrier(who, length)) < _WRITTEN_OUT

    def _barrier(self, who: int, length: int) -> bool:
        return self.image.fenced and length * who * len(self.block.lanes) <= _FENCED

    def _loads(self, vectors: float) -> float:
        """Loads of so many vectors side by side: pairs on Arm."""
        return (vectors + 1) // 2 if self.image.by_lane else vectors

    def _whole(self, lanes: tuple[int, ...]) -> float:
        """What vectors take of whole ones, each at least half."""
        return sum(max(width / self.image.lanes, 0.5) for width in lanes)


def _apart(step: int, count: int) -> int:
    """Of so many addresses so many bytes apart those that are not whole vectors from the first."""
    return count - -(-count // (1 if step % VECTOR == 0 else 2 if step % (VECTOR // 2) == 0 else 4))


@lru_cache(maxsize=4096)
def met(axis: Axis) -> int:
    """How many taps meet the image, over all positions of the result."""

    def above(position: int) -> int:
        return -(-(axis.pad - position * axis.stride) // axis.step)

    def below(position: int) -> int:
        return -(-(axis.size + axis.pad - position * axis.stride) // axis.step)

    return sum(max(0, min(axis.kernel, below(y)) - max(0, above(y))) for y in range(axis.out))


@lru_cache(maxsize=4096)
def tiles_along(axis: Axis, most: int) -> tuple[tuple[int, int, Stretches], ...]:
    """Runs of equal tiles of at most so many positions along a row of the result: positions of a tile, how many tiles,
    and the stretches of taps that meet the image for the same positions: how many taps, and positions."""
    count = -(-axis.out // most)
    rows, more = divmod(axis.out, count)
    spans = ((i * rows + min(i, more), rows + (i < more)) for i in range(count))
    found = ((span[1], _stretches(axis, *span)) for span in spans)
    return tuple((rows, len(list(run)), taps) for (rows, taps), run in groupby(found))


def _stretches(axis: Axis, start: int, rows: int) -> Stretches:
    def inside(tap: int) -> tuple[int, ...]:
        first = start * axis.stride + tap * axis.step - axis.pad
        return tuple(i for i in range(rows) if 0 <= first + i * axis.stride < axis.size)

    return tuple((len(list(run)), len(who)) for who, run in groupby(range(axis.kernel), inside) if who)
