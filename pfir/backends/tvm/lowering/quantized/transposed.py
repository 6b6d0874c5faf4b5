"""Transposed convolutions of integers: a convolution to all phases of the result, then each value at its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Anchor, Values, shape_of
from pfir.backends.tvm.lowering.form import KernelSpec, Step, channels_last
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.quantized.integers import IntegerLayer, bias_in_steps, stored, summed, symmetric
from pfir.backends.tvm.lowering.quantized.moves import as_integers
from pfir.backends.tvm.lowering.quantized.nodes import EIGHT_BITS
from pfir.backends.tvm.lowering.transposed import Phases, phases_of, placed
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.routing import CONVOLUTION
from pfir.target import INT8, SINGLE
from pfir.workload import Workload

_OUTPUTS = 1  # axis of the weights


def integer_transposed(program: Program, group: Group, value: Values) -> Anchor | None:
    """What heads the kernel of a transposed convolution of integers; None where it is none, or has groups."""
    node = group.head
    phases = phases_of(node) if node.op == "ConvTranspose" else None
    layer = None if phases is None else _layer(program, node, phases, value(node.inputs[0]))
    if phases is None or layer is None:
        return None
    (batch, *_), outputs = layer.data.form.shape, shape_of(node.outputs[0])[1]
    out = (batch, len(layer.weight), *phases.sizes)
    form = layer.data.form
    work = Workload(CONVOLUTION, form.shape, out, form.order, phases.taps, pads=phases.begin, dtype=INT8)
    inner = summed(program, work, layer, channels_last(out))
    if inner is None:
        return None
    addend = None if inner.bias is None else inner.bias[:outputs]  # the same for all phases
    return placed(program, phases, _made(program, inner), outputs, addend)


def _layer(program: Program, node: gs.Node, phases: Phases, data: Value) -> IntegerLayer | None:
    """The convolution to all phases; None where data or weights are no integers of eight bits."""
    constant, meaning = program.constants.get(node.inputs[1].name), data.form.quantization
    integers = None if constant is None else symmetric(constant)
    if integers is None or meaning is None or data.form.dtype not in EIGHT_BITS:
        return None
    if constant.scale.size > 1 and constant.axis != _OUTPUTS:
        return None
    outputs, data = integers.shape[1], stored(program, data)
    step = np.broadcast_to(constant.scale.astype(float), (outputs,)) * meaning.scale
    found = bias_in_steps(node, step)
    if found is None:
        return None
    bias, addend = (None if part is None else np.tile(part, phases.count) for part in found)
    weight, point = phases.weights(integers), data.form.quantization.zero_point
    return IntegerLayer(as_integers(data), point, weight, np.tile(step, phases.count), bias, addend)


def _made(program: Program, anchor: Anchor) -> Value:
    """The float results of sums of integers, each times what a step stands for."""
    operands = [*anchor.operands, program.constant(anchor.multiplier.astype(np.float32).reshape(-1, 1, 1))]
    spec = KernelSpec(
        anchor.family,
        tuple(sorted(anchor.attributes.items())),
        tuple(operand.form for operand in operands),
        len(anchor.operands),
        (Step("Mul", (), (("main", 0), ("operand", len(anchor.operands)))),),
        replace(anchor.out, dtype=program.dtype),
        SINGLE,
    )
    made = program.call(spec, anchor.tile, operands)
    return program.view(made, replace(anchor.result, dtype=made.form.dtype))
