"""ONNX nodes to a Relax module of our own kernels, one group of nodes after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Anchor, Values, arguments_of, array_of, attributes_of
from pfir.backends.tvm.lowering.anchors import ANCHORS, BY_ELEMENT, anchor
from pfir.backends.tvm.lowering.fallback import as_modelled, imported, refusal
from pfir.backends.tvm.lowering.form import Form, KernelSpec, Step, channels_last, plain, same_memory
from pfir.backends.tvm.lowering.fuse import NO_OPS, Group, elementwise, groups, is_float
from pfir.backends.tvm.lowering.moves import MOVERS, mover, split, view
from pfir.backends.tvm.lowering.normalization import over_rows
from pfir.backends.tvm.lowering.quantized.constants import fold_quantized
from pfir.backends.tvm.lowering.quantized.dynamic import spell_out_dynamic
from pfir.backends.tvm.lowering.quantized.elements import on_integers
from pfir.backends.tvm.lowering.quantized.fused_products import spell_out_products
from pfir.backends.tvm.lowering.quantized.integers import image_form, integer_anchor
from pfir.backends.tvm.lowering.quantized.moves import (
    are_alike,
    as_floats,
    as_integers,
    moved_inputs,
    moved_integers,
    same_integers,
    times,
)
from pfir.backends.tvm.lowering.quantized.nodes import QUANTIZE
from pfir.backends.tvm.lowering.quantized.scales import folded
from pfir.backends.tvm.lowering.quantized.spelled_out import spell_out
from pfir.backends.tvm.lowering.quantized.storage import is_for_layers, store_as
from pfir.backends.tvm.lowering.quantized.transposed import integer_transposed
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.integers.dot_blocks import stored
from pfir.backends.tvm.schedule.tiles import plain_tile
from pfir.backends.tvm.tuning.database import NOTHING, Known
from pfir.errors import CompileError
from pfir.ir.constants.codebooks import expand_codebooks
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.target import HALF, SINGLE, Target


def written(model: Model, target: Target, known: Known = NOTHING) -> Program:
    """A program whose module has a `main` that takes the model's inputs in order and returns the tuple of its outputs.

    Args:
        known: What was measured on the target's core.

    Raises:
        CompileError: A node is covered neither by our kernels nor by TVM's importer.
    """
    from tvm import relax

    model, program = started(model, target, relax.BlockBuilder(), known)
    forms = [plain(tuple(spec.shape), spec.dtype) for spec in model.inputs()]
    variables = [relax.Var(f"input_{i}", relax.TensorType(form.memory, form.dtype)) for i, form in enumerate(forms)]
    values = {spec.name: Value(v, f) for spec, v, f in zip(model.inputs(), variables, forms, strict=True)}
    with program.builder.function("main", variables):
        with program.builder.dataflow():
            outputs = Lowering(program, values).graph(model.graph)
            result = program.builder.emit_output(relax.Tuple(outputs))
        program.builder.emit_func_output(result)
    return program


def started(model: Model, target: Target, builder: Any, known: Known = NOTHING) -> tuple[Model, Program]:
    """A copy of the model to be lowered, its integers as the target takes them, and the program to write it to.

    Raises:
        CompileError: As in `sized`.
    """
    model = sized(model)
    spell_out(model.graph)
    if target.arithmetic.data == SINGLE:
        spell_out_products(model.graph)
        spell_out_dynamic(model.graph)
    constants = fold_quantized(model.graph)
    store_as(model.graph, stored(target))
    return model, Program(target, builder, model.graph.opset, known, constants)


def sized(model: Model) -> Model:
    """A copy whose tensors all have a dtype and fixed sizes, weights out of codebooks as floats.

    Raises:
        CompileError: One is not known; the message names it and the node.
    """
    model = model.clone()
    expand_codebooks(model.graph)
    if any(_unknown(tensor) for node in model.nodes() for tensor in node.outputs if tensor.name):
        infer_shapes(model)
    for tensor in model.graph.inputs:
        if _unknown(tensor):
            raise CompileError(f"input {tensor.name} is {list(tensor.shape or [])}; fix its sizes by --input-shape")
    for node in model.nodes():
        for tensor in node.outputs:
            if tensor.name and _unknown(tensor):
                raise refusal(node, f"the shape of its output {tensor.name} is not known before it runs")
    return model


def _unknown(tensor: gs.Tensor) -> bool:
    shape = tensor.shape
    return tensor.dtype is None or shape is None or not all(isinstance(size, int | np.integer) for size in shape)


def grouped(graph: gs.Graph) -> list[Group]:
    """The nodes of a graph by the kernels that compute them."""
    nodes = [node for node in graph.nodes if node.op != "Constant"]
    return groups(nodes, {tensor.name for tensor in graph.outputs}, set(ANCHORS) | set(MOVERS))


class Lowering:
    """The values computed so far, by tensor name; inputs, outputs and what the importer computes are of the types that
    the model gives them, other floats of the program's."""

    def __init__(self, program: Program, values: dict[str, Value]) -> None:
        self.program, self.values = program, values
        self.ends: frozenset[str] = frozenset()

    def graph(self, graph: gs.Graph) -> list[Any]:
        self.ends = frozenset(tensor.name for tensor in graph.outputs)
        for group in grouped(graph):
            self.group(group)
        return [self._border(tensor) for tensor in graph.outputs]

    def value(self, tensor: gs.Tensor) -> Value:
        """The tensor, floats in the program's type, also those that integers stand for."""
        return self._with_floats(tensor, self.program.dtype)

    def numbers(self, tensor: gs.Tensor) -> Value:
        """The tensor for a kernel that reads element by element: floats in the program's type, or integers that stand
        for them."""
        given = self.given(tensor)
        return given if given.form.quantization is not None else self.value(tensor)

    def _full(self, tensor: gs.Tensor) -> Value:
        """The tensor, floats as the model has them."""
        return self._with_floats(tensor, SINGLE)

    def _with_floats(self, tensor: gs.Tensor, dtype: str) -> Value:
        given = self.given(tensor)
        form = replace(given.form, dtype=dtype, quantization=None)
        return self.program.laid_out(given, form) if is_float(tensor) else given

    def given(self, tensor: gs.Tensor) -> Value:
        if tensor.name not in self.values:
            self.values[tensor.name] = self.program.constant(array_of(tensor))
        return self.values[tensor.name]

    def group(self, group: Group) -> None:
        from tvm.s_tir.schedule import ScheduleError

        head = group.head
        if all(node.op in NO_OPS for node in group.nodes):
            self.values[group.output.name] = self.given(head.inputs[0])
            return
        same = same_integers(head, self.given) or self._moved_integers(group)
        if same is not None:
            self.values[head.outputs[0].name] = same
            if group.nodes[1:]:
                self.group(Group(group.nodes[1:]))
            return
        if elementwise(head):
            start, nodes = self._chain(group), group.nodes
        else:
            start = self._anchor(group)
            nodes = group.nodes[1:]
        if start is None:
            self._alone(head)
            if nodes:
                self.group(Group(nodes))
            return
        try:
            self.values[group.output.name] = self._emit(start, head.outputs[0], nodes)
        except ScheduleError:
            self._unscheduled(group)

    def _moved_integers(self, group: Group) -> Value | None:
        """What the first node of a group makes where it only moves integers, which stand for the same behind it."""
        given = [self.given(tensor) for tensor in moved_inputs(group.head)]
        if not are_alike(given):
            return None
        quantization = given[0].form.quantization
        start = moved_integers(self.program, group, lambda t: as_integers(self.given(t)), quantization)
        return None if start is None else as_floats(self._emit(start, group.head.outputs[0], ()), quantization)

    def _anchor(self, group: Group) -> Anchor | None:
        """What heads the kernel of a group; None where none of ours computes it."""
        program, head = self.program, group.head
        integers = integer_anchor(program, group, self.given) or integer_transposed(program, group, self.given)
        return integers or anchor(program, group, self._read_by(head)) or mover(program, head, self.numbers)

    def _read_by(self, head: gs.Node) -> Values:
        """How an anchor reads: a convolution copies an image in ONNX's order anyway, and converts it there."""
        form = self.given(head.inputs[0]).form if head.op == "Conv" else None
        if form is not None and form.order == (0, 1, 2, 3) and form.quantization is None:
            return self.given
        return self.numbers if head.op in BY_ELEMENT else self.value

    def _unscheduled(self, group: Group) -> None:
        """Our schedule does not fit these sizes: slow and right, from the importer, is what is left."""
        for node in group.nodes:
            same = node.op in NO_OPS
            made = self.value(node.inputs[0]) if same else imported(self.program, node, self.given)[0]
            self.values[node.outputs[0].name] = made

    def _alone(self, node: gs.Node) -> None:
        program = self.program
        if node.op == "Split":
            data = self.numbers(node.inputs[0])
            parts = zip(split(program, node, lambda _: as_integers(data)), node.outputs, strict=True)
            results = [as_floats(self._emit(part, output, ()), data.form.quantization) for part, output in parts]
        else:
            same = view(program, node, self.numbers) or over_rows(program, node, self._full)
            results = [same] if same is not None else imported(program, node, self.given)
        for tensor, value in zip(node.outputs, results, strict=False):
            self.values[tensor.name] = value

    def _chain(self, group: Group) -> Anchor:
        """Element-wise nodes alone: in the order of the first operand that has the result's shape."""
        shape = tuple(int(s) for s in group.output.shape)
        inner = {t.name for node in group.nodes for t in node.outputs}
        forms = [
            self.numbers(t).form
            for node in group.nodes
            for t in node.inputs
            if isinstance(t, gs.Variable) and not t.is_empty() and t.name not in inner
        ]
        order = next((form.order for form in forms if form.shape == shape), plain(shape).order)
        if order == plain(shape).order and is_for_layers(group.output):
            order = channels_last(shape).order
        return Anchor("affine", {"kind": "steps"}, [], Form(shape, order), plain_tile(self.program.target))

    def _emit(self, start: Anchor, tensor: gs.Tensor, nodes: tuple[gs.Node, ...]) -> Value:
        """The kernel of an anchor with the element-wise nodes behind it."""
        operands: list[Value] = list(start.operands)
        steps: list[Step] = []
        arrays: dict[int, np.ndarray] = {}
        places: dict[str, tuple[str, Any]] = {tensor.name: ("main", 0)}
        if start.attributes.get("kind") == "steps":
            places.clear()
        for op, array in (("Mul", start.multiplier), ("Add", start.bias)):
            if array is not None:
                arrays[len(operands)] = _along_channels(start, array)
                steps.append(Step(op, (), (places[tensor.name], ("operand", len(operands)))))
                operands.append(self.program.constant(arrays[len(operands)]))
                places[tensor.name] = ("step", len(steps) - 1)
        for node in nodes:
            arguments = tuple(self._argument(t, places, operands, start) for t in arguments_of(node))
            if node.op in NO_OPS and arguments[0][0] in ("main", "step"):
                places[node.outputs[0].name] = arguments[0]
                continue
            steps.append(Step(node.op, attributes_of(node), arguments))
            places[node.outputs[0].name] = ("step", len(steps) - 1)
        whole, factors = folded(tuple(steps), lambda j: j in arrays or operands[j].form.quantization is not None)
        for j, factor in factors.items():
            operands[j] = self.program.constant(arrays[j] * factor) if j in arrays else times(operands[j], factor)
        attributes = tuple(sorted(start.attributes.items()))
        dtype = self.program.dtype if start.out.dtype == SINGLE else start.out.dtype
        computes = dtype if start.multiplier is None else SINGLE  # which float16 cannot hold
        spec = KernelSpec(
            start.family,
            attributes,
            tuple(o.form for o in operands),
            len(start.operands),
            whole,
            self._result(start, nodes[-1].outputs[0] if nodes else tensor, whole[-1:], dtype),
            computes,
        )
        made = self.program.call(*on_integers(self.program.target, spec, start.tile), operands)
        return made if start.result is None else self.program.view(made, replace(start.result, dtype=made.form.dtype))

    def _result(self, start: Anchor, tensor: gs.Tensor, last: tuple[Step, ...], dtype: str) -> Form:
        """The form of a result: integers where the last step makes them, float32 where the graph's output is just that,
        in this order."""
        for step in last:
            if step.op == QUANTIZE:
                return replace(start.out, dtype=dict(step.attributes)["dtype"])
        form = plain(start.out.shape)
        ends = tensor.name in self.ends and is_float(tensor) and same_memory(replace(start.out, dtype=SINGLE), form)
        ends = ends and dtype in (HALF, SINGLE)
        return replace(start.out, dtype=SINGLE if ends else dtype)

    def _argument(self, tensor: gs.Tensor, places: dict, operands: list[Value], start: Anchor) -> tuple[str, Any]:
        if tensor.name in places:
            return places[tensor.name]
        array = array_of(tensor)
        if array is not None and array.size == 1:
            return ("number", float(array.reshape(-1)[0]))
        value, result = self.numbers(tensor), start.result or start.out
        if value.form.shape == result.shape:
            value = self.program.laid_out(value, replace(value.form, order=result.order))
        if result.shape != start.out.shape:
            value = self.program.view(value, image_form(value.form, result, start.out))
        operands.append(value)
        places[tensor.name] = ("operand", len(operands) - 1)
        return places[tensor.name]

    def _border(self, tensor: gs.Tensor) -> Any:
        """A graph output."""
        return as_modelled(self.program, tensor, self.given(tensor)).var


def _along_channels(start: Anchor, vector: np.ndarray) -> np.ndarray:
    """A vector of one number a channel, shaped so that it broadcasts along that axis of the result."""
    rank = len(start.out.shape)
    channel_axis = start.out.order[-1]
    return vector.astype(np.float32).reshape((-1,) + (1,) * (rank - 1 - channel_axis))
