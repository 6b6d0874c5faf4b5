"""Copies that exchange the innermost axis of a tensor for another, in square blocks that are turned in registers.

A block of b x b values is read along the source's innermost axis and written along the result's. Quarters of 4 x 4,
gathered while they are read, are turned by interleaving rows twice. The last block of an axis overlaps the one before
it, so that no size costs a predicate.

Source: the network that transposes by unpacking, known as `_MM_TRANSPOSE4_PS` (Intel, Intrinsics Guide).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from pfir.backends.tvm.kernels.common import split
from pfir.backends.tvm.kernels.written import Argument, argument, start
from pfir.backends.tvm.lowering.form import Form, KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import HALF, SINGLE

_QUARTER = 4
_LINE = 16
_GROUP_COST = 0.25  # in blocks
_COSTS = {4: 2, 8: 1, 16: 1}  # of a value in blocks of each size; measured on Zen 4


@dataclass(frozen=True)
class MovedAxes:
    """Axes that lie beside each other in the source as in the result: their elements, and how far apart two are."""

    size: int
    source: int
    result: int


def covers(data: Form, out: Form) -> bool:
    """Whether it is float32 that is read, float is written, and the innermost axes differ and fill a block."""
    if data.dtype != SINGLE or out.dtype not in (HALF, SINGLE) or data.size == 1:
        return False
    *_, along = runs = runs_of(data, out)
    across = next(run for run in runs if run.source == 1)
    return across is not along and min(across.size, along.size) >= _QUARTER


def runs_of(data: Form, out: Form) -> list[MovedAxes]:
    """The runs of axes longer than 1, in the result's order."""
    source, result = _strides(data), _strides(out)
    runs: list[MovedAxes] = []
    for axis in out.order:
        size = out.shape[axis]
        if runs and runs[-1].source == size * source[axis] and size > 1:
            runs[-1] = MovedAxes(runs[-1].size * size, source[axis], result[axis])
        elif size > 1:
            runs.append(MovedAxes(size, source[axis], result[axis]))
    return runs


def _strides(form: Form) -> dict[int, int]:
    return {axis: prod(form.memory[place + 1 :]) for place, axis in enumerate(form.order)}


def transpose(spec: KernelSpec, tile: PlainTile) -> Any:
    """A kernel as a function of TensorIR that copies its operand into the form of its result."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        data, out = (argument(name, form, spec.dtype) for name, form in (("data", spec.operands[0]), ("out", spec.out)))
        with T.sblock("root"):  # which TVM asks of a function whose result is as large as its operand
            _write(data, out, tile)
    return ib.get()


def _write(data: Argument, out: Argument, tile: PlainTile) -> None:
    """Outer axes and some blocks of one inner axis as tasks, blocks of the other one in each: the short axis within,
    for several threads to have tasks, the long one within for a single thread, whose lines then stay in the caches."""
    from tvm.tirx.script import builder as T

    runs = runs_of(data.form, out.form)
    along, across = runs[-1], next(run for run in runs if run.source == 1)
    outer = [run for run in runs if run not in (along, across)]
    side = _side(tile.lanes, along.size, across.size)
    first, second = sorted((along, across), key=lambda run: run.size, reverse=tile.threads > 1)
    groups, beside = groups_of(-(-first.size // side), side)
    tasks = (T.parallel if tile.threads > 1 else T.serial)(0, prod(run.size for run in outer) * groups)
    rounds = -(-second.size // side)
    with tasks as task, T.serial(0, rounds) as index, T.unroll(0, beside) as one:
        source, result = (T.decl_buffer((end.form.size,), end.form.dtype, data=end.tensor.data) for end in (data, out))
        first_block = start(task % groups * beside + one, groups * beside, side, first.size)
        places = [
            *zip(outer, split(task // groups, [run.size for run in outer]), strict=True),
            (first, first_block),
            (second, start(index, rounds, side, second.size)),
        ]
        _block(
            side,
            lambda row, column, lanes: _vector(source, _at(places, "source") + row * along.source + column, lanes),
            lambda row, value: _put(result, _at(places, "result") + row * across.result, _as(out, value, side), side),
        )


def _side(lanes: int, *sizes: int) -> int:
    """The side of the blocks that cover an area of these sizes for the least, the larger one of equals."""

    def cost(side: int) -> int:
        return _COSTS[side] * prod(-(-size // side) * side for size in sizes)

    return min((side for side in sorted(_COSTS, reverse=True) if side <= min(lanes, *sizes)), key=cost)


def groups_of(blocks: int, side: int) -> tuple[int, int]:
    """How many groups of how many blocks side by side: they should touch whole lines of the caches, and few twice."""
    choices = [(-(-blocks // beside), beside) for beside in range(1, _LINE // side + 1)]
    return min(choices, key=lambda choice: choice[0] * (choice[1] + _GROUP_COST))


def _at(places: Sequence[tuple[MovedAxes, Any]], side: str) -> Any:
    return sum(position * getattr(run, side) for run, position in places)


def _block(side: int, load: Callable[[int, int, int], Any], keep: Callable[[int, Any], None]) -> None:
    """Turn a block: `load(row, column, lanes)` reads along a row, `keep(row, vector)` writes a row of the result."""
    from tvm import tirx

    quarters = range(0, side, _QUARTER)
    for column in quarters:
        rows = [_held([load(quarter + i, column, _QUARTER) for quarter in quarters], range(side)) for i in range(4)]
        low, high = ([_held(rows[i : i + 2], _unpacked(side, half, 1)) for i in (0, 2)] for half in (0, 2))
        for place, pair in ((0, low), (2, high)):
            for half in (0, 2):
                keep(column + place + half // 2, tirx.Shuffle(pair, _unpacked(side, half, 2)))


def _unpacked(lanes: int, start: int, width: int) -> list[int]:
    """The lanes of two vectors, in turn of each: pieces of `width` from `start` on in every four lanes."""
    return [
        vector * lanes + quarter + start + piece * width + i
        for quarter in range(0, lanes, _QUARTER)
        for piece in range(2 // width)
        for vector in range(2)
        for i in range(width)
    ]


def _held(vectors: list[Any], places: Sequence[int]) -> Any:
    """The shuffled vectors, by a name of their own: what is used twice would be written twice."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    lanes = len(places)
    cell = T.alloc_buffer((lanes,), SINGLE, scope="local")
    _put(cell, 0, tirx.Shuffle(vectors, list(places)), lanes)
    return _vector(cell, 0, lanes)


def _as(out: Argument, value: Any, lanes: int) -> Any:
    return value if out.form.dtype == SINGLE else value.astype(f"{out.form.dtype}x{lanes}")


def _vector(buffer: Any, start: Any, lanes: int) -> Any:
    from tvm import tirx

    return tirx.BufferLoad(buffer, [tirx.Ramp(start, 1, lanes)])


def _put(buffer: Any, start: Any, value: Any, lanes: int) -> None:
    from tvm import tirx
    from tvm.tirx.script import builder as T

    T.buffer_store(buffer, value, [tirx.Ramp(start, 1, lanes)])
