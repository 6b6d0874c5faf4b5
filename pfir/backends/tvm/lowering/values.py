"""The module under construction: Relax values with their forms, and kernels that are made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pfir.backends.tvm.families import FAMILIES, modelled
from pfir.backends.tvm.kernels.transpose import covers as transposes
from pfir.backends.tvm.lowering.form import Form, KernelSpec, plain, same_memory
from pfir.backends.tvm.lowering.quantized.constants import QuantizedConstant
from pfir.backends.tvm.schedule.candidate_schedules import Schedule
from pfir.backends.tvm.schedule.tile_kinds import Tile
from pfir.backends.tvm.schedule.tiles import plain_tile
from pfir.backends.tvm.tuning.database import NOTHING, Known
from pfir.target import SINGLE, Target
from pfir.workload import Workload


@dataclass(frozen=True)
class Value:
    """A tensor of the program and how it lies in memory."""

    var: Any
    form: Form


@dataclass(frozen=True, eq=False)
class Transformed:
    """A constant that Winograd's transforms made of kernels of 3x3.

    Args:
        points: As it is linked, `[O/b, (m + 2)^2, I, b]`.
        kernels: `[O/b, 9, I, b]` float32 or int8.
        outputs: m.
    """

    points: np.ndarray
    kernels: np.ndarray
    outputs: int


@dataclass
class Program:
    """A Relax function being written, for one target.

    Args:
        target: What kernels are made for.
        builder: Relax's block builder; None for a sketch, in which only forms are followed and nothing is made.
        opset: The model's ONNX operator set.
        known: What was measured on the target's core.
        constants: The integers of constants that stand for floats, by tensor.
        kernels: Those made so far.
        calls: How often each is called in one inference.
        works: The workloads of which there was a choice of schedules, in order.
        made: Of a sketch the kernels, each with what stands for its first operand, in order.
        copies: Tensors in another order than they were made in, by tensor and order.
        transformed: Constants that were computed of smaller ones.
        slow: The nodes, with their operators, that run on TVM's unscheduled code instead of kernels of ours.
    """

    target: Target
    builder: Any
    opset: int
    known: Known = NOTHING
    constants: Mapping[str, QuantizedConstant] = field(default_factory=dict)
    kernels: dict[tuple[KernelSpec, Tile], Any] = field(default_factory=dict)
    calls: Counter[tuple[KernelSpec, Tile]] = field(default_factory=Counter)
    copies: dict[tuple[Value, Form], Value] = field(default_factory=dict)
    transformed: list[Transformed] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    works: list[Workload] = field(default_factory=list)
    made: list[tuple[KernelSpec, Any]] = field(default_factory=list)

    @property
    def dtype(self) -> str:
        """The type of activations, between the float32 inputs and outputs."""
        return self.target.arithmetic.data

    def schedule(self, workload: Workload) -> Schedule:
        """How the work is done: as was measured to be fastest, else as the model of the core says."""
        self.works.append(workload)
        return self.known.schedule(self.target, workload) or modelled(self.target, workload)

    def sketched(self, form: Form) -> Value:
        """A tensor that only has a form."""
        return Value(object(), form)

    def constant(self, array: np.ndarray) -> Value:
        from tvm import relax

        array = self._typed(np.ascontiguousarray(array))
        if self.builder is None:
            return self.sketched(plain(array.shape, array.dtype.name))
        return Value(relax.const(array, array.dtype.name), plain(array.shape, array.dtype.name))

    def points(self, points: np.ndarray, kernels: np.ndarray, outputs: int) -> Value:
        """The constant `points`, which Winograd's transforms for `outputs` m made of the kernels."""
        self.transformed.append(Transformed(self._typed(points), kernels, outputs))
        return self.constant(points)

    def _typed(self, array: np.ndarray) -> np.ndarray:
        """The array, float32 in the program's type."""
        if array.dtype != SINGLE or array.dtype == self.dtype:
            return array
        with np.errstate(over="ignore"):  # what float16 cannot hold is infinite, and verification says so
            return array.astype(self.dtype)

    def call(self, spec: KernelSpec, tile: Tile, operands: list[Value]) -> Value:
        """The result of a kernel, made now if none of its kind exists yet."""
        from tvm import relax

        if self.builder is None:
            self.made.append((spec, operands[0].var if operands else None))
            return self.sketched(spec.out)
        memory = result_memory(spec)
        kernel = self.kernels.get((spec, tile))
        if kernel is None:
            kernel = self.kernels[spec, tile] = self._make(spec, tile)
        self.calls[spec, tile] += 1
        result = relax.call_tir(kernel, [o.var for o in operands], relax.TensorType(memory, spec.out.dtype))
        return self.view(Value(self.builder.emit(result), plain(memory, spec.out.dtype)), spec.out)

    def view(self, value: Value, form: Form) -> Value:
        """The same bytes under another form of as many elements."""
        from tvm import relax

        if value.form.memory == form.memory or self.builder is None:
            return Value(value.var, form)
        return Value(self.builder.emit(relax.op.reshape(value.var, list(form.memory))), form)

    def laid_out(self, value: Value, form: Form) -> Value:
        """The same tensor in another memory order, or of another type of float, copied only where it has to be;
        integers that stand for floats stay what they are, or become those."""
        if same_memory(value.form, form):
            return self.view(value, form)
        if form.quantization is not None:
            integers = Value(value.var, replace(value.form, quantization=None))
            return self.view(self.laid_out(integers, replace(form, quantization=None)), form)
        if (value, form) not in self.copies:
            family, kind = ("transpose", ()) if transposes(value.form, form) else ("affine", (("kind", "copy"),))
            spec = KernelSpec(family, kind, (value.form,), 1, (), form, form.dtype)
            self.copies[value, form] = self.call(spec, plain_tile(self.target), [value])
        return self.copies[value, form]

    def plain(self, value: Value) -> Value:
        return self.laid_out(value, replace(value.form, order=plain(value.form.shape).order))

    def floats(self, value: Value) -> Value:
        """The tensor as floats in memory."""
        if value.form.quantization is None:
            return value
        return self.laid_out(value, replace(value.form, dtype=self.dtype, quantization=None))

    def _make(self, spec: KernelSpec, tile: Tile) -> Any:
        name = f"{spec.family}_{len(self.kernels)}"
        function = FAMILIES[spec.family].make(spec, tile)
        apart = function.attrs.get("tirx.noalias", True)
        function = function.with_attr("global_symbol", name).with_attr("tirx.noalias", apart)
        return self.builder.add_func(function, name)


def result_memory(spec: KernelSpec) -> tuple[int, ...]:
    """The sizes that the kernel itself writes: a grouped convolution keeps its groups apart."""
    groups = dict(spec.attributes).get("group", 1) if spec.family == "conv" else 1
    if groups == 1:
        return spec.out.memory
    *anchor, channels = spec.out.memory
    return (*anchor, groups, channels // groups)
