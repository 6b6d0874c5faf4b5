"""ONNX operators that divide by what a whole row adds up to: softmax and norms, over axes that end the memory."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Values, scalar
from pfir.backends.tvm.lowering.form import Form, KernelSpec
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.tiles import plain_tile


def over_rows(program: Program, node: gs.Node, value: Values) -> Value | None:
    """The node's output by a kernel of ours, or None where none covers it."""
    make = NORMAL.get(node.op)
    covered = make and not scalar(node) and node.inputs[0].dtype == "float32"
    return make(program, node, value) if covered else None


def _softmax(program: Program, node: gs.Node, value: Values) -> Value:
    data = value(node.inputs[0])
    rank = len(data.form.shape)
    if program.opset < 13:  # then everything from the axis on is one row
        axes = range(int(node.attrs.get("axis", 1)) % rank, rank)
    else:
        axes = [int(node.attrs.get("axis", -1)) % rank]
    data = _ending_with(program, data, tuple(axes))
    return _call(program, "softmax", [data], n=prod(data.form.shape[axis] for axis in axes))


def _ending_with(program: Program, data: Value, axes: tuple[int, ...]) -> Value:
    """The data with these axes innermost, the others in the order they lie in."""
    order = (*(axis for axis in data.form.order if axis not in axes), *axes)
    return program.laid_out(data, Form(data.form.shape, order, data.form.dtype))


def _layer_norm(program: Program, node: gs.Node, value: Values) -> Value | None:
    data = program.plain(value(node.inputs[0]))
    axis = int(node.attrs.get("axis", -1)) % len(data.form.shape)
    shape = data.form.shape[axis:]
    others = [value(tensor) for tensor in node.inputs[1:]]
    if len(others) != 2 or any(other.form.size != prod(shape) for other in others) or len(_made(node)) > 1:
        return None
    return _norm(program, node, [data, *map(program.plain, others)], prod(shape), by_row=False)


def _instance_norm(program: Program, node: gs.Node, value: Values) -> Value:
    data = program.plain(value(node.inputs[0]))
    others = [value(tensor) for tensor in node.inputs[1:]]
    return _norm(program, node, [data, *others], prod(data.form.shape[2:]), by_row=True)


def _norm(program: Program, node: gs.Node, operands: list[Value], n: int, by_row: bool) -> Value:
    return _call(program, "norm", operands, n=n, by_row=by_row, epsilon=float(node.attrs.get("epsilon", 1e-5)))


def _made(node: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in node.outputs if tensor.name]


def _call(program: Program, family: str, operands: list[Value], **attributes: float) -> Value:
    spec = KernelSpec(
        family, tuple(sorted(attributes.items())), tuple(o.form for o in operands), len(operands), (), operands[0].form
    )
    return program.call(spec, plain_tile(program.target), operands)


NORMAL: dict[str, Callable[[Program, gs.Node, Values], Value | None]] = {
    "Softmax": _softmax,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
}
