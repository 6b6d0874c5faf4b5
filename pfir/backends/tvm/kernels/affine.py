"""Element-wise chains, and copies and slices with such a chain behind them: every operand is read in even steps.

Axes that lie beside each other in the result and in every operand become one, so that vectors run along the longest
stretch there is; the last vector of a stretch overlaps the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from pfir.backends.tvm.kernels.common import number, split, tail
from pfir.backends.tvm.kernels.written import along, argument, store
from pfir.backends.tvm.lowering.form import Form, KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile

_SHARED = 4096  # values of a single stretch from which on threads share it


@dataclass(frozen=True)
class MergedAxes:
    """Axes that count as one: their elements, and how far apart two of these lie in the result and each operand."""

    size: int
    result: int
    operands: tuple[int, ...]


@dataclass(frozen=True)
class _Reader:
    """An operand at the place that is being computed."""

    buffer: Any
    place: Any
    form: Form

    def broadcast(self, _: tuple[Any, ...]) -> Any:
        return number(self.buffer[self.place], self.form)


def affine(spec: KernelSpec, tile: PlainTile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `kind`: steps, without operands of its own; copy; or slice, with
    `starts` and `steps` along each axis."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    *outer, inner = shared(runs_of(spec), tile)
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        arguments = [argument(f"p{i}", form, spec.dtype) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, spec.dtype)
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, prod(run.size for run in outer))
        with T.sblock("root"), tasks as task:
            result, *data = (T.decl_buffer((a.form.size,), a.form.dtype, data=a.tensor.data) for a in (out, *arguments))
            positions = list(zip(outer, split(task, [run.size for run in outer]), strict=True))
            firsts = [_first(spec, j) for j in range(len(data))]

            def one(place: Any) -> tuple[Any, list[Any]]:
                at = [*positions, (inner, place)]
                readers = [
                    _Reader(buffer, firsts[j] + sum(p * run.operands[j] for run, p in at), spec.operands[j])
                    for j, buffer in enumerate(data)
                ]
                main = readers[0].broadcast(()) if spec.own else None
                return tail(spec, readers, (), main), [sum(p * run.result for run, p in at)]

            along(inner.size, tile.lanes, lambda start, lanes: store(result, lanes, lambda e: one(start + e)))
    return ib.get()


def runs_of(spec: KernelSpec) -> list[MergedAxes]:
    """The runs of axes longer than 1, the innermost last; one run of a single element where there is none."""
    strides = [_strides(spec, j) for j in range(len(spec.operands))]
    memory, runs = spec.out.memory, []
    for place, axis in enumerate(spec.out.order):
        size, result = memory[place], prod(memory[place + 1 :])
        steps = tuple(stride[axis] for stride in strides)
        if size == 1:
            continue
        if runs and runs[-1].result == size * result and runs[-1].operands == tuple(size * step for step in steps):
            runs[-1] = MergedAxes(runs[-1].size * size, result, steps)
        else:
            runs.append(MergedAxes(size, result, steps))
    return runs or [MergedAxes(1, 1, (0,) * len(strides))]


def shared(runs: list[MergedAxes], tile: PlainTile) -> list[MergedAxes]:
    """The runs, a single long one shared evenly among the threads where whole vectors allow it."""
    share, rest = divmod(runs[-1].size, tile.threads)
    if tile.threads == 1 or len(runs) > 1 or rest or share < _SHARED:
        return runs
    only = runs[0]
    return [
        MergedAxes(tile.threads, only.result * share, tuple(step * share for step in only.operands)),
        MergedAxes(share, only.result, only.operands),
    ]


def _strides(spec: KernelSpec, operand: int) -> list[int]:
    """How far an operand moves along each axis of the result: nowhere where it is broadcast."""
    form, rank = spec.operands[operand], len(spec.out.shape)
    strides, memory = [0] * rank, form.memory
    for place, axis in enumerate(form.order):
        if form.shape[axis] > 1:
            strides[rank - len(form.shape) + axis] = prod(memory[place + 1 :])
    if operand < spec.own and spec["kind"] == "slice":
        strides = [stride * step for stride, step in zip(strides, spec["steps"], strict=True)]
    return strides


def _first(spec: KernelSpec, operand: int) -> int:
    """The place of the operand's first element that is read."""
    if operand >= spec.own or spec["kind"] != "slice":
        return 0
    form = spec.operands[operand]
    return sum(spec["starts"][axis] * prod(form.memory[place + 1 :]) for place, axis in enumerate(form.order))
