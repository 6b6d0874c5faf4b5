"""What every kernel generator needs: operands read by ONNX index, the element-wise tail, and loop helpers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import Any

from pfir.backends.tvm.kernels.integers.eight_bits import dequantized
from pfir.backends.tvm.lowering.expressions import IN_HALF, const, expression
from pfir.backends.tvm.lowering.form import EIGHT_BITS, Form, KernelSpec, Step
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, Tile
from pfir.target import HALF, SINGLE

_FEWEST_LANES = 2
_FEWEST_TOGETHER = 4
# Numbers that float16 holds with all its digits.
_LEAST, _MOST = 2.0**-14, 65504.0


@dataclass(frozen=True)
class Operand:
    """A tensor of a kernel, read by ONNX index whatever its order in memory, floats as those that it computes in, and
    integers that stand for floats as these."""

    tensor: Any
    form: Form
    dtype: str = SINGLE

    def __call__(self, *index: Any) -> Any:
        return as_float(number(self._at(tuple(index[axis] for axis in self.form.order)), self.form), self.dtype)

    def _at(self, memory: tuple[Any, ...]) -> Any:
        return self.tensor(*memory)

    def broadcast(self, index: tuple[Any, ...]) -> Any:
        """The element that lines up with `index` of a result of at least this rank, by ONNX's broadcasting."""
        tail = index[len(index) - len(self.form.shape) :]
        return self(*(0 if size == 1 else i for i, size in zip(tail, self.form.shape, strict=True)))


def number(value: Any, form: Form) -> Any:
    """What an element of a tensor of this form stands for."""
    return value if form.quantization is None else dequantized(value, form.quantization)


def as_float(value: Any, dtype: str) -> Any:
    """The value as this type of float; what is no float stays as it is."""
    found = str(value.ty)
    return value if found == dtype or found not in (HALF, SINGLE) else value.astype(dtype)


def placeholders(spec: KernelSpec) -> list[Operand]:
    from tvm import te

    return [
        Operand(te.placeholder(form.memory, name=f"p{i}", dtype=form.dtype), form, spec.dtype)
        for i, form in enumerate(spec.operands)
    ]


def tail(spec: KernelSpec, operands: list[Operand], index: tuple[Any, ...], main: Any) -> Any:
    """The element at ONNX index `index` after every step of `spec`, where the main computation gave `main`.

    In a kernel of float16 the steps are so too if each of them is safe there and the result is of float16.
    Each value that is needed again is bound to a name: written out instead, a chain of k steps that use their argument
    twice would grow to 2^k terms.
    """
    from tvm import tirx

    dtype = _type_of_steps(spec)
    main = main if main is None else as_float(main, dtype)
    values: list[Any] = []
    bound: list[tuple[Any, Any]] = []
    for step in spec.steps:
        arguments = [
            {
                "main": lambda _: main,
                "step": lambda i: values[i],
                "operand": lambda j: as_float(operands[j].broadcast(index), dtype),
                "number": lambda x: const(x, dtype),
            }[kind](value)
            for kind, value in step.arguments
        ]
        values.append(expression(step.op, arguments, dict(step.attributes)))
        if len(values) < len(spec.steps) and not _is_written_once(spec, len(values) - 1):
            name = tirx.Var(f"s{len(values)}", str(values[-1].ty))
            bound.append((name, values[-1]))
            values[-1] = name
    result = as_float(values[-1] if values else main, spec.out.dtype)
    for name, value in reversed(bound):
        result = tirx.Let(name, value, result)
    return result


def _is_written_once(spec: KernelSpec, place: int) -> bool:
    """Whether a step of a kernel of integers is needed by one other, and so needs no name: TVM's elimination of common
    subexpressions fails where an index is the same in a named value and behind it."""
    uses = sum(step.arguments.count(("step", place)) for step in spec.steps)
    return uses == 1 and any(form.dtype in EIGHT_BITS for form in (*spec.operands, spec.out))


def _type_of_steps(spec: KernelSpec) -> str:
    if spec.dtype != HALF or spec.out.dtype != HALF:
        return SINGLE
    numbers = [value for step in spec.steps for kind, value in step.arguments if kind == "number"]
    numbers += [value for step in spec.steps for _, value in step.attributes if isinstance(value, float)]
    safe = all(step.op in IN_HALF for step in spec.steps)
    return HALF if safe and all(x == 0 or _LEAST <= abs(x) <= _MOST for x in numbers) else SINGLE


def bias_first(spec: KernelSpec) -> tuple[int | None, KernelSpec]:
    """The operand that the first step adds along the channels, if it does, and the kernel without that step: sums may
    then start from it."""
    if not spec.steps or spec.steps[0].op != "Add":
        return None, spec
    kinds = dict(spec.steps[0].arguments)
    if set(kinds) != {"main", "operand"} or len(spec.steps[0].arguments) != 2:
        return None, spec
    sizes = spec.operands[kinds["operand"]].shape
    channels = (1,) * (len(sizes) - 1 - _after(spec)) + (spec.out.shape[1],) + (1,) * _after(spec)
    if sizes != channels:
        return None, spec
    return kinds["operand"], replace(spec, steps=tuple(_without_first(step) for step in spec.steps[1:]))


def _after(spec: KernelSpec) -> int:
    """Axes behind the channels."""
    return len(spec.out.shape) - 2


def _without_first(step: Step) -> Step:
    moved = {("step", 0): ("main", 0)}
    arguments = (moved.get(a, ("step", a[1] - 1) if a[0] == "step" else a) for a in step.arguments)
    return replace(step, arguments=tuple(arguments))


def to_index(form: Form, memory: tuple[Any, ...]) -> tuple[Any, ...]:
    """The ONNX index of an element at a memory index."""
    index: list[Any] = [None] * len(memory)
    for i, axis in enumerate(form.order):
        index[axis] = memory[i]
    return tuple(index)


def split(place: Any, sizes: Sequence[int]) -> tuple[Any, ...]:
    """The position on each of these axes of the `place`-th element; in range, the first axis needs no remainder."""
    index: list[Any] = []
    for size in reversed(sizes[1:]):
        index.insert(0, place % size)
        place = place // size
    return (place, *index) if sizes else ()


def schedule_of(operands: list[Operand], result: Any) -> Any:
    from tvm import te
    from tvm.s_tir import Schedule

    return Schedule(te.create_prim_func([o.tensor for o in operands] + [result]))


def vectorize_inner(schedule: Any, loop: Any, lanes: int) -> None:
    """Vectorise a loop of any extent by `lanes`, the rest with predicates; one whose extent varies stays as it is."""
    from tvm import tirx

    extent = schedule.get(loop).extent
    if not isinstance(extent, tirx.IntImm) or int(extent) <= 1:
        return
    if int(extent) <= lanes:
        schedule.vectorize(loop)
        return
    _, inner = schedule.split(loop, [None, lanes])
    schedule.vectorize(inner)


def vectorize_channels(schedule: Any, loop: Any, lanes: int, channels: int) -> None:
    """Vectorise a loop over some of `channels` by at most `lanes`, by fewer where only that leaves no part of a vector:
    a predicate within a vector makes it scalar."""
    common = gcd(int(schedule.get(loop).extent), channels)
    even = min(lanes, common & -common)
    vectorize_inner(schedule, loop, even if even >= _FEWEST_LANES else lanes)


def loads_together(spec: KernelSpec, tile: MatrixTile, channels: int) -> bool:
    """Whether the input values of a round of steps come by whole vectors, from whose lanes they multiply: of float32
    LLVM does so by itself, halves it would load one by one."""
    steps = tile.unroll
    return spec.dtype == HALF and steps >= _FEWEST_TOGETHER and steps & (steps - 1) == 0 and channels % steps == 0


def load_together(schedule: Any, main: Any, depth: int) -> None:
    """Put the stage `cells` into the `depth`th loop around `main`, in registers."""
    cells = schedule.get_sblock("cells")
    schedule.set_scope(cells, 0, "local")
    schedule.compute_at(cells, schedule.get_loops(main)[depth - 1])
    *rows, last = schedule.get_loops(cells)[depth:]
    for loop in rows:
        schedule.unroll(loop)
    schedule.vectorize(last)


def parallel(schedule: Any, tile: Tile, loop: Any) -> None:
    """Share a loop's rounds among threads; handing a single thread its own work would cost about a microsecond."""
    if tile.threads > 1:
        schedule.parallel(loop)
