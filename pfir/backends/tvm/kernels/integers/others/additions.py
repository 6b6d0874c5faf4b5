"""Sums of two tensors of eight bits without floats: for Arm, whose products of 16 bits are exact in 32.

result = zero + round((m1 * (a - zero1) + m2 * (b - zero2)) / 2^shift), where m / 2^shift is how many steps of the
result a step of an operand is; m has 15 bits, so that a sum is less than 0.02 steps from where it should be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, log2
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.affine import MergedAxes, shared
from pfir.backends.tvm.kernels.written import argument, whole_vectors
from pfir.backends.tvm.lowering.form import Form, KernelSpec, Quantization, Step, same_memory
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import SINGLE

BYTES = 16  # of a vector
_LARGEST = 32767
# Of the shift: the instruction takes 16 at most; with less than 14 sums would be further off.
_MOST_SHIFT, _LEAST_SHIFT = 16, 14
_FEWEST_FRACTIONS = 8  # bits behind the point: with fewer many sums lie halfway between two integers


@dataclass(frozen=True)
class Addition:
    """What such a kernel computes with.

    Args:
        multipliers: Of both operands.
        shift: Bits of the sum that are rounded away.
        points: The integers that stand for zero in the operands.
        zero: That in the result.
        least, most: Bounds of the result.
    """

    multipliers: tuple[int, int]
    shift: int
    points: tuple[int, int]
    zero: int
    least: int
    most: int


def addition_of(spec: KernelSpec) -> Addition | None:
    """The sum that an element-wise chain is, perhaps bounded; None where it is another chain, or where its scales would
    make it inexact."""
    names = tuple(step.op for step in spec.steps)
    if names not in _CHAINS or set(spec.steps[0].arguments) != {("operand", 0), ("operand", 1)}:
        return None
    data = spec.operands
    if (
        len(data) != 2
        or spec.out.dtype != "int8"
        or any(form.dtype != "int8" or not _alike(form, spec) for form in data)
    ):
        return None
    last = dict(spec.steps[-1].attributes)
    result, given = Quantization(last["scale"], last["zero_point"]), [form.quantization for form in data]
    steps = [quantization.scale / result.scale for quantization in given]
    shift = min(_MOST_SHIFT, floor(log2(_LARGEST / max(steps))))
    multipliers = [round(step * 2**shift) for step in steps]
    if shift < _LEAST_SHIFT or min(multipliers) < 1 or shift - _even(multipliers) < _FEWEST_FRACTIONS:
        return None
    least, most = _bounds(spec.steps[1:-1], result)
    points = given[0].zero_point, given[1].zero_point
    return Addition((multipliers[0], multipliers[1]), shift, points, result.zero_point, least, most)


def add_int8(spec: KernelSpec, tile: PlainTile) -> Any:
    """A kernel as a function of TensorIR; `spec` is that of a chain that `addition_of` finds to be a sum, over at least
    a vector."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    size, addition = spec.out.size, addition_of(spec)
    *_, inner = shared([MergedAxes(size, 1, (1, 1))], tile)
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        arguments = [
            argument(name, form, SINGLE)
            for name, form in zip(("p0", "p1", "out"), (*spec.operands, spec.out), strict=True)
        ]
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, size // inner.size)
        with T.sblock("root"), tasks as task:
            *data, result = (T.decl_buffer((size,), a.form.dtype, data=a.tensor.data) for a in arguments)
            first = task * inner.size
            whole_vectors(inner.size, BYTES, lambda start: _vector(addition, data, result, first + start))
    return ib.get()


def _vector(addition: Addition, data: list[Any], result: Any, start: Any) -> None:
    from tvm import tirx
    from tvm.tirx.script import builder as T

    place = tirx.Ramp(start, 1, BYTES)
    loaded = [tirx.BufferLoad(buffer, [place]) for buffer in data]
    halves = [_half(addition, loaded, half) for half in (0, 1)]
    found = tirx.Shuffle(halves, list(range(BYTES)))
    if addition.least > -128:
        found = tirx.max(found, tirx.Broadcast(tirx.const(addition.least, "int8"), BYTES))
    if addition.most < 127:
        found = tirx.min(found, tirx.Broadcast(tirx.const(addition.most, "int8"), BYTES))
    T.buffer_store(result, found, [place])


def _half(addition: Addition, loaded: list[Any], half: int) -> Any:
    """Eight results."""
    from tvm import tirx

    values = []
    for vector, point in zip(loaded, addition.points, strict=True):
        eight = tirx.Shuffle([vector], list(range(8 * half, 8 * half + 8))).astype("int16x8")
        values.append(eight - tirx.Broadcast(tirx.const(point, "int16"), 8))
    fours = [_four(addition, values, four) for four in (0, 1)]
    whole = tirx.Shuffle(fours, list(range(8)))
    if addition.zero:
        moved = tirx.Broadcast(tirx.const(addition.zero, "int16"), 8)
        whole = tirx.call_llvm_pure_intrin("int16x8", "llvm.aarch64.neon.sqadd.v8i16", whole, moved)
    return tirx.call_llvm_pure_intrin("int8x8", "llvm.aarch64.neon.sqxtn.v8i8", whole)


def _four(addition: Addition, values: list[Any], four: int) -> Any:
    """Four sums, rounded to 16 bits."""
    from tvm import tirx

    products = []
    for value, multiplier in zip(values, addition.multipliers, strict=True):
        part = tirx.Shuffle([value], list(range(4 * four, 4 * four + 4)))
        same = tirx.Broadcast(tirx.const(multiplier, "int16"), 4)
        products.append(tirx.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.smull.v4i32", part, same))
    total = products[0] + products[1]
    name, shift = "llvm.aarch64.neon.sqrshrn.v4i16", tirx.const(addition.shift, "int32")
    return tirx.call_llvm_pure_intrin("int16x4", name, total, shift)


def _alike(form: Form, spec: KernelSpec) -> bool:
    """Whether an operand stands for floats, and lies in memory as the result does."""
    meaning = form.quantization
    return meaning is not None and same_memory(form, replace(spec.out, quantization=meaning))


def _even(multipliers: list[int]) -> int:
    """Bits at the end that are zero in all of them."""
    joined = multipliers[0] | multipliers[1]
    return (joined & -joined).bit_length() - 1


def _bounds(steps: tuple[Step, ...], result: Quantization) -> tuple[int, int]:
    """The least and the largest integer that a Relu or Clip lets pass."""
    limits = np.iinfo("int8")
    given = {"min": 0.0} if steps and steps[0].op == "Relu" else dict(steps[0].attributes) if steps else {}
    least, most = (
        int(np.clip(np.rint(given[name] / result.scale) + result.zero_point, limits.min, limits.max))
        if name in given
        else limit
        for name, limit in (("min", limits.min), ("max", limits.max))
    )
    return least, most


_CHAINS = (("Add", "QuantizeLinear"), ("Add", "Relu", "QuantizeLinear"), ("Add", "Clip", "QuantizeLinear"))
