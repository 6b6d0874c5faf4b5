"""Element-wise chains that read or make integers of eight bits: by which kernel, and with which vectors."""

from __future__ import annotations

from dataclasses import replace

from pfir.backends.tvm.counts.integers.elements import ADDITION, TABLE, kind_of, wide_lanes
from pfir.backends.tvm.kernels.integers.others.additions import BYTES, addition_of
from pfir.backends.tvm.lowering.form import EIGHT_BITS, KernelSpec, same_memory
from pfir.backends.tvm.schedule.tile_kinds import PlainTile, Tile
from pfir.cores import VNNI_CORES
from pfir.target import INT8, Target
from pfir.workload import Tail, Workload


def on_integers(target: Target, spec: KernelSpec, tile: Tile) -> tuple[KernelSpec, Tile]:
    """The same kernel, or for a chain over integers the one that computes it in the fewest cycles, and its tile."""
    has_bytes = any(form.dtype in EIGHT_BITS for form in (*spec.operands, spec.out))
    if spec.family != "affine" or spec["kind"] != "steps" or not has_bytes or not isinstance(tile, PlainTile):
        return spec, tile
    wide, kind = replace(tile, lanes=wide_lanes(target)), kind_of(target, _workload(spec), _tail(spec))
    if kind == ADDITION and spec.out.size >= BYTES and addition_of(spec):
        return replace(spec, family="add_int8"), wide
    if kind == TABLE and _is_function(spec):
        attributes = (*spec.attributes, ("by", _looks_up(target)))
        return replace(spec, family="table", attributes=tuple(sorted(attributes))), wide
    return spec, wide


def _is_function(spec: KernelSpec) -> bool:
    """Whether each integer of the result is a function of one of the only operand, in the same place."""
    if len(spec.operands) != 1 or spec.out.dtype not in EIGHT_BITS or spec.operands[0].dtype not in EIGHT_BITS:
        return False
    meaning = spec.operands[0].quantization
    return same_memory(spec.operands[0], replace(spec.out, dtype=spec.operands[0].dtype, quantization=meaning))


def _workload(spec: KernelSpec) -> Workload:
    return Workload("elementwise", spec.out.shape, spec.out.shape, spec.out.order, dtype=INT8)


def _tail(spec: KernelSpec) -> Tail:
    large = [form for form in spec.operands if form.shape == spec.out.shape]
    others = [form for form in spec.operands if form.shape != spec.out.shape and form.size > 1]
    return Tail(False, tuple(step.op for step in spec.steps), max(0, len(large) - 1), len(others))


def _looks_up(target: Target) -> str:
    """The instructions that look up bytes in a table."""
    if target.arm64:
        return "neon"
    return "vbmi" if target.cpu in VNNI_CORES else "any"
