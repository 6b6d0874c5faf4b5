"""Functions of one integer of eight bits as tables of 256 results, made anew in each call by the general code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.affine import MergedAxes, shared
from pfir.backends.tvm.kernels.common import number, tail
from pfir.backends.tvm.kernels.written import argument, store, whole_vectors
from pfir.backends.tvm.lowering.form import Form, KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import SINGLE

ENTRIES = 256
_TBL, _TBX = "llvm.aarch64.neon.tbl4.v16i8", "llvm.aarch64.neon.tbx4.v16i8"
_PERMUTE = "llvm.x86.avx512.vpermi2var.qi.512"
_NEON, _VBMI = 16, 64  # bytes of a vector


@dataclass(frozen=True)
class _Integer:
    """The operand where it is this integer."""

    value: Any
    form: Form

    def broadcast(self, _: tuple[Any, ...]) -> Any:
        return number(self.value, self.form)


def table(spec: KernelSpec, tile: PlainTile) -> Any:
    """A kernel as a function of TensorIR; `spec` is that of an element-wise chain over one operand of eight bits, which
    lies as the result does, and ends in eight bits, at least a vector of them.

    What looks up is told `by`: `neon`, `vbmi` of AVX-512, or `any`.
    """
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    size = spec.out.size
    *outer, inner = shared([MergedAxes(size, 1, (1,))], tile)
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        arguments = [argument("p0", spec.operands[0], SINGLE), argument("out", spec.out, SINGLE)]
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, size // inner.size)
        with T.sblock("root"), tasks as task:
            data, result = (T.decl_buffer((size,), a.form.dtype, data=a.tensor.data) for a in arguments)
            results, first = _filled(spec, tile), task * inner.size
            write = {"neon": _neon, "vbmi": _vbmi, "any": _any}[spec["by"]]
            lanes = {"neon": _NEON, "vbmi": _VBMI, "any": 1}[spec["by"]]
            whole_vectors(inner.size, lanes, lambda start: write(data, result, results, first + start))
    return ib.get()


def _filled(spec: KernelSpec, tile: PlainTile) -> Any:
    """The results for all integers, in the order of their bits."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    form = spec.operands[0]
    results = T.alloc_buffer((ENTRIES,), spec.out.dtype, scope="local")
    with T.serial(0, ENTRIES // tile.lanes) as i:

        def entry(e: Any) -> tuple[Any, list[Any]]:
            bits = i * tile.lanes + e
            value = tirx.reinterpret(form.dtype, bits.astype("uint8"))
            return tail(spec, [_Integer(value, form)], (), None), [bits]

        store(results, tile.lanes, entry)
    return results


def _any(data: Any, result: Any, results: Any, start: Any) -> None:
    from tvm.tirx.script import builder as T

    T.buffer_store(result, results[data[start].astype("uint8").astype("int32")], [start])


def _neon(data: Any, result: Any, results: Any, start: Any) -> None:
    """Four lookups in 64 bytes each: what lies outside of them is kept."""
    from tvm import tirx

    found, bits = None, _bytes(data, start, _NEON)
    for quarter in range(4):
        quarters = [_bytes(results, 4 * _NEON * quarter + _NEON * i, _NEON) for i in range(4)]
        places = bits - tirx.Broadcast(tirx.const(_signed(4 * _NEON * quarter), "int8"), _NEON)
        if found is None:
            found = tirx.call_llvm_pure_intrin("int8x16", _TBL, *quarters, places)
        else:
            found = tirx.call_llvm_pure_intrin("int8x16", _TBX, found, *quarters, places)
    _write(result, start, found, _NEON)


def _vbmi(data: Any, result: Any, results: Any, start: Any) -> None:
    """Two lookups in 128 bytes each, of which the sign chooses."""
    from tvm import tirx

    bits, zeros = _bytes(data, start, _VBMI), tirx.Broadcast(tirx.const(0, "int8"), _VBMI)
    low, high = (
        tirx.call_llvm_pure_intrin(
            "int8x64", _PERMUTE, _bytes(results, half, _VBMI), bits, _bytes(results, half + _VBMI, _VBMI)
        )
        for half in (0, 2 * _VBMI)
    )
    _write(result, start, tirx.Select(bits < zeros, high, low), _VBMI)


def _bytes(buffer: Any, start: Any, count: int) -> Any:
    """Neighbouring bytes as a vector of int8."""
    from tvm import tirx

    found = tirx.BufferLoad(buffer, [tirx.Ramp(start, 1, count)])
    return found if str(buffer.dtype) == "int8" else tirx.reinterpret(f"int8x{count}", found)


def _write(buffer: Any, start: Any, found: Any, count: int) -> None:
    from tvm import tirx
    from tvm.tirx.script import builder as T

    found = found if str(buffer.dtype) == "int8" else tirx.reinterpret(f"uint8x{count}", found)
    T.buffer_store(buffer, found, [tirx.Ramp(start, 1, count)])


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte
