"""Floats to stored integers of eight bits: rounded to nearest, ties to even, moved by a zero point, saturated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pfir.backends.tvm.kernels.integers.eight_bits import quantized
from pfir.backends.tvm.lowering.form import KernelSpec, Quantization
from pfir.target import SINGLE

QUANTIZE = "QuantizeLinear"
_FOUR = 4  # lanes of a vector of floats


@dataclass(frozen=True)
class Rounding:
    """The last step of a kernel that stores eight bits.

    Args:
        scale: What one step of the integers stands for.
        zero_point: The integer that stands for zero.
        dtype: int8 or uint8.
    """

    scale: float
    zero_point: int
    dtype: str


def rounding_last(spec: KernelSpec) -> tuple[KernelSpec, Rounding | None]:
    """The kernel without its last step, if that rounds, which then gives floats, and what that step does."""
    if not spec.steps or spec.steps[-1].op != QUANTIZE:
        return spec, None
    said = dict(spec.steps[-1].attributes)
    found = Rounding(float(said["scale"]), int(said["zero_point"]), spec.out.dtype)
    return replace(spec, steps=spec.steps[:-1], out=replace(spec.out, dtype=SINGLE)), found


def store_rounded(
    buffer: Any, indices: list[list[Any]], floats: list[Any], lanes: int, rounding: Rounding, by: str
) -> None:
    """Write the integers of each of `floats`, buffers of so many lanes, side by side from its index on.

    Args:
        by: The instructions there are: `neon`, `avx512`, `sse`, or `any` for what LLVM makes of it.
    """
    if by == "neon":
        _neon(buffer, indices, floats, lanes, rounding)
        return
    for index, some in zip(indices, floats, strict=True):
        {"avx512": _avx512, "sse": _sse, "any": _any}[by](buffer, index, some, lanes, rounding)


def _any(buffer: Any, index: list[Any], floats: Any, lanes: int, rounding: Rounding) -> None:
    from tvm.tirx.script import builder as T

    *outer, last = index
    with T.vectorized(0, lanes) as e:
        whole = quantized(floats[e], Quantization(1.0, rounding.zero_point), rounding.dtype)
        T.buffer_store(buffer, whole, [*outer, last + e])


def _neon(buffer: Any, indices: list[list[Any]], floats: list[Any], lanes: int, rounding: Rounding) -> None:
    """`fcvtns`, narrowing to 16 bits, the zero point, narrowing to eight bits: each saturates. Two fours from anywhere
    are narrowed together."""
    fours = [(some, first) for some in floats for first in range(0, lanes, _FOUR)]
    places = [[*outer, last + first] for *outer, last in indices for first in range(0, lanes, _FOUR)]
    for at in range(0, len(fours), 2):
        eight = _eight([_narrow(_converted(*four)) for four in fours[at : at + 2]], rounding)
        _store_fours(buffer, places[at : at + 2], eight, rounding.dtype, beside=lanes > _FOUR)


def _eight(parts: list[Any], rounding: Rounding) -> Any:
    """int8x8 or uint8x8: one or two vectors of four 16-bit integers, less the zero point."""
    from tvm import tirx

    whole = tirx.Shuffle([parts[0], parts[-1]], list(range(8)))
    if rounding.zero_point:
        moved = tirx.Broadcast(tirx.const(rounding.zero_point, "int16"), 8)
        whole = tirx.call_llvm_pure_intrin("int16x8", "llvm.aarch64.neon.sqadd.v8i16", whole, moved)
    name = "sqxtn" if rounding.dtype == "int8" else "sqxtun"
    eight = tirx.call_llvm_pure_intrin("int8x8", f"llvm.aarch64.neon.{name}.v8i8", whole)
    return eight if rounding.dtype == "int8" else tirx.call_intrin("uint8x8", "tirx.reinterpret", eight)


def _store_fours(buffer: Any, places: list[list[Any]], eight: Any, dtype: str, beside: bool) -> None:
    """Write eight bytes where the first ones go, if all go side by side, else each four, by way of an int32: a vector
    of four LLVM would widen before it is stored."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    if beside:
        *outer, last = places[0]
        T.buffer_store(buffer, eight, [*outer, tirx.Ramp(last, 1, 8)])
        return
    halves = tirx.call_intrin("int32x2", "tirx.reinterpret", eight)
    for half, (*outer, last) in enumerate(places):
        four = tirx.call_intrin(f"{dtype}x4", "tirx.reinterpret", tirx.Shuffle([halves], [half]))
        T.buffer_store(buffer, four, [*outer, tirx.Ramp(last, 1, _FOUR)])


def _converted(floats: Any, first: int) -> Any:
    from tvm import tirx

    four = tirx.BufferLoad(floats, [tirx.Ramp(first, 1, 4)])
    return tirx.call_llvm_pure_intrin("int32x4", "llvm.aarch64.neon.fcvtns.v4i32.v4f32", four)


def _narrow(four: Any) -> Any:
    from tvm import tirx

    return tirx.call_llvm_pure_intrin("int16x4", "llvm.aarch64.neon.sqxtn.v4i16", four)


def _avx512(buffer: Any, index: list[Any], floats: Any, lanes: int, rounding: Rounding) -> None:
    """`vcvtps2dq`, the zero point, and a narrowing that saturates."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    *outer, last = index
    bits, zero = 32 * lanes, tirx.const(rounding.zero_point, "int32")
    floats = tirx.BufferLoad(floats, [tirx.Ramp(0, 1, lanes)])
    # What no int32 holds would become the least one.
    floats = tirx.min(floats, tirx.Broadcast(tirx.const(1e9, "float32"), lanes))
    whole = _rounded_x86(floats, lanes) + tirx.Broadcast(zero, lanes)
    if rounding.dtype == "uint8":
        whole = tirx.max(whole, tirx.Broadcast(tirx.const(0, "int32"), lanes))
    nothing = tirx.Broadcast(tirx.const(0, "int8"), 16)
    mask = tirx.const(-1, "int16" if lanes == 16 else "int8")
    name = f"llvm.x86.avx512.mask.pmov{'us' if rounding.dtype == 'uint8' else 's'}.db.{bits}"
    sixteen = tirx.call_llvm_pure_intrin("int8x16", name, whole, nothing, mask)
    if rounding.dtype == "uint8":
        sixteen = tirx.call_intrin("uint8x16", "tirx.reinterpret", sixteen)
    kept = sixteen if lanes == 16 else tirx.Shuffle([sixteen], list(range(lanes)))
    T.buffer_store(buffer, kept, [*outer, tirx.Ramp(last, 1, lanes)])


def _sse(buffer: Any, index: list[Any], floats: Any, lanes: int, rounding: Rounding) -> None:
    """`cvtps2dq`, narrowing to 16 bits, the zero point, narrowing to eight bits: all but the first saturate."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    *outer, last = index
    moved = tirx.Broadcast(tirx.const(rounding.zero_point, "int16"), 8)
    name = "packus" if rounding.dtype == "uint8" else "packss"
    for first in range(0, lanes, 8):
        width = min(8, lanes - first)
        parts = [_whole_x86(floats, first + i) for i in range(0, width, 4)]
        sixteen = tirx.call_llvm_pure_intrin("int16x8", "llvm.x86.sse2.packssdw.128", parts[0], parts[-1])
        sixteen = tirx.call_llvm_pure_intrin("int16x8", "llvm.sadd.sat.v8i16", sixteen, moved)
        eight = tirx.call_llvm_pure_intrin("int8x16", f"llvm.x86.sse2.{name}wb.128", sixteen, sixteen)
        kept = tirx.Shuffle([tirx.call_intrin(f"{rounding.dtype}x16", "tirx.reinterpret", eight)], list(range(width)))
        T.buffer_store(buffer, kept, [*outer, tirx.Ramp(last + first, 1, width)])


def _whole_x86(floats: Any, first: int) -> Any:
    """Four floats from the `first` on, rounded; what no int32 holds would become the least one."""
    from tvm import tirx

    four = tirx.BufferLoad(floats, [tirx.Ramp(first, 1, 4)])
    return _rounded_x86(tirx.min(four, tirx.Broadcast(tirx.const(1e9, "float32"), 4)), 4)


def _rounded_x86(floats: Any, lanes: int) -> Any:
    from tvm import tirx

    if lanes == 16:
        nothing = tirx.Broadcast(tirx.const(0, "int32"), 16)
        current = tirx.const(4, "int32")  # the rounding mode that is set: to nearest
        name, all_lanes = "llvm.x86.avx512.mask.cvtps2dq.512", tirx.const(-1, "int16")
        return tirx.call_llvm_pure_intrin("int32x16", name, floats, nothing, all_lanes, current)
    name = {8: "llvm.x86.avx.cvt.ps2dq.256", 4: "llvm.x86.sse2.cvtps2dq"}[lanes]
    return tirx.call_llvm_pure_intrin(f"int32x{lanes}", name, floats)
