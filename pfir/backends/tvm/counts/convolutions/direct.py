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

from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.blocks import Block, Direct, bordered
from pfir.backends.tvm.schedule.tiles import by_lane, scheduled_ahead
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

Stretches = tuple[tuple[int, int], ...]

VALUE, VECTOR = 4, 16  # bytes

# Scalar instructions of a line (its addresses, and which of the kernel's rows meet the image), of a tile, of a row of
# the kernel, of a tap that is a run of its own, of a run that is a loop, of a round of it, and of a round's values that
# fill no whole one.
_A_LINE, _A_TILE, _A_ROW, _A_TAP, _A_RUN, _A_ROUND, _A_REST = 25, 5, 4, 3, 4, 3, 3
# Of a run that is written out in a row of the kernel with others that are loops.
_A_STRETCH = 6
# LLVM writes out a loop of no more than so many instructions, those of a round by its own measure.
_WRITTEN_OUT, _LOOP = 298, 3
# Of the memory for a copy of the image, and of a row of the copy.
_ALLOCATED, _A_COPIED_ROW = 200, 12
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
        rate: Multiply-adds of whole vectors that start in a cycle.
        by_lane: Whether values are multiplied from the lanes of a register; else each comes from memory.
        fenced: Whether rounds have barriers.
        ahead: Whether LLVM schedules for a single core in order.
    """

    rows: Axis
    columns: Axis
    images: int
    group: int
    beside: bool
    bias: bool
    lanes: int
    rate: float
    by_lane: bool
    fenced: bool
    ahead: bool


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

    def add(self, times: float, other: Count) -> None:
        """So many times others, too."""
        self.multiply += times * other.multiply
        self.vector += times * other.vector
        self.load += times * other.load
        self.load_bytes += times * other.load_bytes
        self.store += times * other.store
        self.store_bytes += times * other.store_bytes
        self.scalar += times * other.scalar
        self.branch += times * other.branch
        self.results += times * other.results

    def instructions(self, each: Instructions) -> Instructions:
        """These, where a vector of results takes `each`."""
        tails = self.results
        return Instructions(
            multiply=self.multiply + tails * each.multiply,
            vector=self.vector + tails * each.vector,
            load=self.load + tails * each.load,
            load_bytes=self.load_bytes + tails * each.load_bytes,
            store=self.store,
            store_bytes=self.store_bytes,
            scalar=self.scalar + tails * each.scalar,
            branch=self.branch + tails * each.branch,
        )


# A call checks its arguments, and saves and restores registers.
_CALL = Count(load=82, load_bytes=656, store=48, store_bytes=384, scalar=160, branch=82)


def direct(target: Target, workload: Workload, tail: Tail, plan: Direct) -> Instructions:
    """The instructions of a kernel by this plan."""
    image, odd = image_of(target, workload, tail.bias), workload.out[1] % target.lanes
    total = _copy(workload, image)
    total.add(1.0, _CALL)
    for block in plan.blocks:
        shape = block.lanes, block.singles, block.rows, plan.steps
        total.add(block.count, of_sums(image, workload.channels, *shape))
        total.add(block.count, of_ends(image, odd, *shape))
    return total.instructions(tail_of_vector(tail, target.core.vector_bytes))


def image_of(target: Target, workload: Workload, bias: bool) -> Image:
    """What of the work does not depend on the channels that are summed over."""
    sizes = workload.data[2:], workload.out[2:], workload.kernel, workload.strides, workload.dilations, workload.pads
    rows, columns = (Axis(*axis) for axis in zip(*sizes, strict=True))
    if bordered(workload.order, workload.data[1]):
        rows, columns = rows.copied, columns.copied
    images, beside = workload.out[0] * workload.group, workload.group == 1 and workload.dilations[1] == 1
    core = target.lanes, target.macs_per_cycle / target.lanes, by_lane(target), target.arm64, scheduled_ahead(target)
    return Image(rows, columns, images, workload.group, beside, bias, *core)


def _copy(workload: Workload, image: Image) -> Count:
    """A copy of the image with its border, where one is read, from channels one after the other or side by side."""
    channels, eights = workload.data[1], workload.out[0] * image.rows.size * image.columns.size / 8
    if not bordered(workload.order, channels):
        return Count()
    apart = workload.order[-1] != 1
    moved, rows = VALUE * 8 * eights * channels, workload.out[0] * image.rows.size
    return Count(
        load=eights * (2 * channels - 1 if apart else channels),
        load_bytes=moved,
        store=eights * (2 if apart else channels),
        store_bytes=moved,
        scalar=_ALLOCATED + rows * _A_COPIED_ROW + 4 * eights,
        branch=_ALLOCATED / 4 + 3 * rows + eights,
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
        runs = made.runs(inner, columns, tiles, stretches)
        made.rows(count, runs, image.images * met(image.rows) * tiles)
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


class _Run(NamedTuple):
    """Values side by side under each of some columns of a tile.

    Args:
        who: How many columns.
        length: Values; in `rounds` whole rounds and a `rest`.
        times: Such runs in a row of the kernel.
        stride: Values from one column to the next.
        at_border: Whether other columns of the tile lie outside the image.
        fences: Rounds that have a barrier.
        written: Whether LLVM writes out the loop over them.
        together: Rounds that it takes together in a loop.
        held: Whether all tiles of a line share the weights, which then lie on the stack.
    """

    who: int
    length: int
    rounds: int
    rest: int
    times: int
    stride: int
    at_border: bool
    fences: int
    written: bool
    together: int
    held: bool


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
        count.results += times * columns * (self._whole() + pairs)
        count.store += times * ((columns - apart) * -(-vectors // 2) + apart * vectors + columns * pairs)
        count.store_bytes += times * columns * VALUE * self.block.channels
        count.scalar += times * (_A_TILE + apart * vectors / 2 * image.by_lane)

    def runs(self, inner: int, columns: int, tiles: int, stretches: Stretches) -> list[_Run]:
        """The runs of a row of the kernel under one of so many tiles along a line."""
        beside = self.image.beside
        return [
            self._run(who, inner * taps if beside else inner, 1 if beside else taps, inner, (columns, tiles))
            for taps, who in stretches
        ]

    def _run(self, who: int, length: int, times: int, inner: int, tiles: tuple[int, int]) -> _Run:
        image, vectors, singles, steps = self.image, len(self.block.lanes), self.block.singles, self.steps
        rounds, rest = divmod(length, steps)
        barrier = image.fenced and length * who * vectors <= _FENCED
        # LLVM's measure of a round: multiply-adds, loads, and the loop.
        size = who * (vectors * steps + singles) + vectors * steps + who + singles + _LOOP + barrier
        written, together = rounds < 2 or rounds * size < _WRITTEN_OUT, 1
        if image.ahead and not written:
            together = max(n for n in range(1, rounds + 1) if rounds % n == 0 and (n == 1 or n * size < _WRITTEN_OUT))
        fences = rounds * barrier + (rest > 0) * image.fenced
        at_border = who < tiles[0] and image.columns.pad > 0
        stride, held = inner * image.group * image.columns.stride, image.rows.kernel == 1 and tiles[1] > 1
        return _Run(who, length, rounds, rest, times, stride, at_border, fences, written, together, held)

    def rows(self, count: Count, runs: list[_Run], times: float) -> None:
        """Rows of the kernel under tiles."""
        image = self.image
        whole = image.beside and all(run.written for run in runs)
        count.scalar += times * _A_ROW
        count.branch += times
        for run in runs:
            each = times * run.times
            self._multiplied(count, run, each)
            self._loaded(count, run, each)
            if not run.written:
                self._looped(count, run, each)
            elif not whole:
                adds_up = run.at_border or image.group > 1 and VALUE * run.length % VECTOR > 0
                count.scalar += each * (_A_STRETCH + adds_up * run.who * run.rounds)
            if not image.beside:
                count.scalar += each * _A_TAP
                count.branch += each

    def _multiplied(self, count: Count, run: _Run, times: float) -> None:
        """What a run multiplies, and its barriers."""
        singles, ends = self.block.singles, run.rounds + (run.rest > 0)
        if self.image.by_lane:
            count.multiply += times * run.who * (run.length * self._whole() + ends * singles)
        else:
            count.multiply += times * run.length * self._step(run.who)
        count.vector += times * (run.rest > 0 and singles > 0) * run.who
        count.scalar += times * run.fences

    def _loaded(self, count: Count, run: _Run, times: float) -> None:
        """Weights and values that a run loads."""
        vectors, singles, length = len(self.block.lanes), self.block.singles, run.length
        if not self.image.by_lane:  # they come beside the multiply-adds
            return
        # Of a loop's rest the weights lie too far from the pointer for pairs; held ones lie on the stack.
        paired = length - run.rest if not run.written else 0 if run.held else length
        count.load += times * (self._loads(paired * vectors) + (length - paired) * vectors)
        count.load_bytes += times * length * VALUE * sum(self.block.lanes)
        loads = self._values(run) + (run.rounds + (run.rest > 0)) * singles
        count.load += times * loads
        count.load_bytes += times * loads * VALUE * self.steps

    def _step(self, who: int) -> float:
        """What a value under each of so many columns counts as on x86; single channels take vectors of values."""
        lanes, singles, steps = self.block.lanes, self.block.singles, self.steps
        apart = singles * max(steps / self.image.lanes, 0.5) / steps
        loads = (who if lanes else 0) + len(lanes) + (singles and (who + singles) / steps)
        return step(self.image.rate, who * (self._whole() + apart), loads, self.block.copies(who, steps))

    def _values(self, run: _Run) -> float:
        """Loads of a run's values: vectors of them, each once where columns share them."""
        if run.written and run.stride < run.length:
            return shared(run.stride, run.who, run.length, self.steps)
        each = 1.0
        if run.together > 1 and VALUE * run.stride % VECTOR == 0 and not run.fences > 1:
            # About half of the loads that could be pairs are.
            each = (1 + -(-run.together // 2) / run.together) / 2
        return run.who * (run.rounds * each + (run.rest > 0))

    def _looped(self, count: Count, run: _Run, times: float) -> None:
        """What a run takes that is a loop."""
        loops, ends = run.rounds // run.together, (run.rest > 0) * (_A_REST + run.who)
        count.scalar += times * (_A_RUN + loops * _A_ROUND + run.rounds * self._addresses(run) + ends)
        count.branch += times * loops

    def _addresses(self, run: _Run) -> float:
        """Addresses of values that a round adds up: each, but for those that one register reaches."""
        if not self.image.by_lane or VALUE * run.stride % VECTOR == 0:
            return float(self.block.singles > 0)
        if (run.who - 1) * VALUE * run.stride <= _REACH:
            return 0.0
        return run.who + 1 if self.image.columns.pad > 0 and not run.at_border else (run.who + 1) // 2

    def _loads(self, vectors: float) -> float:
        """Loads of so many vectors side by side: pairs on Arm."""
        return (vectors + 1) // 2 if self.image.by_lane else vectors

    def _whole(self) -> float:
        """What the vectors take of whole ones, each at least half."""
        lanes = self.image.lanes
        return sum(1.0 if width == lanes else max(width / lanes, 0.5) for width in self.block.lanes)


@lru_cache(maxsize=4096)
def shared(stride: int, who: int, length: int, steps: int) -> int:
    """Different places, so many values apart, at which vectors of a run of values are loaded for so many columns."""
    starts = [*range(0, length - steps + 1, steps), *([length - steps] if length % steps else [])]
    return len({i * stride + start for i in range(who) for start in starts})


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
