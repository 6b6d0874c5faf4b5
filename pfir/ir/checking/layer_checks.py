"""Layers whose weights or windows do not fit their data: onnx's inference lets them pass, ONNX Runtime may crash."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from pfir.ir.edit import STANDARD_DOMAINS
from pfir.ir.onnx_io import walk
from pfir.ir.operators.records import Form, Operator
from pfir.ir.operators.table import operator_named

Dims = list[int | None] | None
"""The sizes of a tensor, None for one that is not known; None where its rank is not."""

_MOST_INDICES = 1024
_WINDOWS = ("kernel_shape", "strides", "dilations")


@dataclass(frozen=True)
class _Layer:
    """A node as its check sees it.

    Args:
        names: Of its inputs, "" where one is left out.
        operator: The record of its operator.
        attributes: By name.
        dims: The shapes of its inputs.
    """

    names: Sequence[str]
    operator: Operator
    attributes: Mapping[str, AttributeProto]
    dims: list[Dims]

    def shape(self, place: int | None) -> Dims:
        """The shape of an input; None where it is not known, or where there is none."""
        return self.dims[place] if place is not None and place < len(self.dims) else None

    def number(self, name: str, default: int | None) -> int | None:
        """An attribute that is a whole number."""
        return self.attributes[name].i if name in self.attributes else default


def layer_fault(inferred: ModelProto) -> str | None:
    """What does not fit in the first layer of a model, by its inferred shapes; None if all of them fit.

    Where a size is not known, it fits.
    """
    shapes, indices = _shapes(inferred), _indices(inferred)
    for node in chain.from_iterable(body.node for body in walk.graphs(inferred)):
        if node.domain in (*STANDARD_DOMAINS, "com.microsoft"):
            for fault in chain(_faults(node, shapes), _gather_faults(node, shapes, indices)):
                return f"{node.op_type} {node.name!r} {fault}"
    return None


def _indices(inferred: ModelProto) -> dict[str, np.ndarray]:
    """Small constants of whole numbers by name; a name that several graphs give has none."""
    found: dict[str, list[TensorProto]] = {}
    for body in walk.graphs(inferred):
        for tensor in body.initializer if isinstance(body, GraphProto) else ():
            found.setdefault(tensor.name, []).append(tensor)
    single = (tensors[0] for tensors in found.values() if len(tensors) == 1)
    return {t.name: numpy_helper.to_array(t) for t in single if _are_indices(t)}


def _are_indices(tensor: TensorProto) -> bool:
    whole = tensor.data_type in (TensorProto.INT32, TensorProto.INT64)
    return whole and math.prod(tensor.dims) <= _MOST_INDICES and tensor.data_location != TensorProto.EXTERNAL


def _gather_faults(node: NodeProto, shapes: Mapping[str, Dims], indices: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A Gather that reads beyond the end: ONNX Runtime refuses it or not, by what it finds out before it runs."""
    if node.op_type != "Gather" or len(node.input) != 2:
        return
    dims, read = shapes.get(node.input[0]), indices.get(node.input[1])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if dims is None or read is None or not read.size or not -len(dims) <= axis < len(dims) or dims[axis] is None:
        return
    if int(read.max()) >= dims[axis] or int(read.min()) < -dims[axis]:
        worst = int(read.max()) if int(read.max()) >= dims[axis] else int(read.min())
        yield f"reads position {worst} of axis {axis}, which has {dims[axis]}"


def _shapes(inferred: ModelProto) -> dict[str, Dims]:
    """The shapes of tensors by name; a name that bodies give to several tensors has none."""
    found: dict[str, Dims] = {}
    for body in walk.graphs(inferred):
        graph = isinstance(body, GraphProto)
        values = chain(body.value_info, *((body.input, body.output) if graph else ()))
        known = {v.name: v.type.tensor_type.shape.dim for v in values if v.type.tensor_type.HasField("shape")}
        here = {name: [d.dim_value if d.dim_value > 0 else None for d in dims] for name, dims in known.items()}
        here |= {t.name: list(t.dims) for t in body.initializer} if graph else {}
        found |= {name: dims if found.get(name, dims) == dims else None for name, dims in here.items()}
    return found


def _faults(node: NodeProto, shapes: Mapping[str, Dims]) -> Iterator[str]:
    attributes = {a.name: a for a in node.attribute}
    for name in _WINDOWS:
        if name in attributes and min(attributes[name].ints, default=1) < 1:
            yield f"has {name} {list(attributes[name].ints)}, which must be positive"
    operator = operator_named(node.op_type, node.domain)
    if operator is not None and operator.form in _RULES and not _channels_last(attributes):
        dims = [shapes.get(name) if name else None for name in node.input]
        yield from _RULES[operator.form](_Layer(node.input, operator, attributes, dims))


def _channels_last(attributes: Mapping[str, AttributeProto]) -> bool:
    return "channels_last" in attributes and attributes["channels_last"].i != 0


def _convolution(layer: _Layer) -> Iterator[str]:
    """Data [N, C, *k]; a weight [M, C / group, *k], or [C, M / group, *k] transposed; a bias [M]."""
    place, transposed = layer.operator.weight.place, layer.operator.form is Form.TRANSPOSED_CONVOLUTION
    data, weight, bias = (layer.shape(i) for i in (layer.operator.data, place, layer.operator.bias))
    group = layer.number("group", 1)
    if group < 1:
        yield f"has {group} groups"
    if weight is None:
        return
    name = layer.names[place]
    if 0 in weight:
        yield f"has a weight {name!r} without elements, of the shape {weight}"
    if data is not None and len(data) != len(weight):
        yield f"gets data of {len(data)} axes, but its weight {name!r} has {len(weight)}"
    if len(weight) < 3:
        yield f"has a weight {name!r} of {len(weight)} axes; at least 3 are needed"
        return
    inputs = weight[0] if transposed else _times(weight[1], group)
    outputs = _times(weight[1], group) if transposed else weight[0]
    if data is not None and _differ(data[1], inputs):
        yield f"gets {data[1]} channels, but its weight {name!r} is for {inputs}"
    if not transposed and outputs is not None and outputs % group:
        yield f"makes {outputs} channels in {group} groups"
    if bias is not None and (len(bias) != 1 or _differ(bias[0], outputs)):
        yield f"makes {outputs} channels, but its bias has the shape {bias}"
    yield from _windows(layer.attributes, weight[2:])


def _gemm(layer: _Layer) -> Iterator[str]:
    """A weight [K, N], or [N, K] transposed; a bias that broadcasts to [M, N]."""
    record, place = layer.operator.weight, layer.operator.bias
    weight, bias = layer.shape(record.place), layer.shape(place)
    if weight is not None and 0 in weight:
        yield f"has a weight {layer.names[record.place]!r} without elements, of the shape {weight}"
    if weight is None or bias is None or len(weight) != 2:
        return
    outputs = weight[record.inputs if layer.number(record.turned_by, 0) else record.outputs]
    if len(bias) > 2 or (bias and bias[-1] != 1 and _differ(bias[-1], outputs)):
        yield f"makes {outputs} channels, but its bias {layer.names[place]!r} has the shape {bias}"


def _windows(attributes: Mapping[str, AttributeProto], kernel: list[int | None]) -> Iterator[str]:
    """Attributes that have an entry, or two, for each axis of the kernel."""
    for name, entries in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2), ("output_padding", 1)):
        given = list(attributes[name].ints) if name in attributes else []
        if given and len(given) != entries * len(kernel):
            yield f"has {name} {given} for a kernel of {len(kernel)} axes"
        elif name == "kernel_shape" and any(map(_differ, given, kernel)):
            yield f"has kernel_shape {given}, but a weight for {kernel}"


def _norm(layer: _Layer) -> Iterator[str]:
    """Data [N, C, *], vectors [C]; where attributes decide along which axis they lie, nothing is known of them."""
    operator, data = layer.operator, layer.shape(layer.operator.data)
    if operator.channel_axis is None:
        return
    channels = data[operator.channel_axis] if data is not None and len(data) > operator.channel_axis else None
    for place in (*operator.factors, *operator.statistics):
        vector = layer.shape(place)
        if vector is not None and (len(vector) != 1 or _differ(vector[0], channels)):
            yield f"gets {channels} channels, but {layer.names[place]!r} has the shape {vector}"


def _recurrent(layer: _Layer) -> Iterator[str]:
    """Data [*, *, I], weights for [D, gates * H] outputs of I and of H inputs, a bias [D, 2 * gates * H]."""
    cell, data = layer.operator.cell, layer.shape(layer.operator.data)
    hidden = layer.number("hidden_size", None)
    attributes = layer.attributes
    double = "direction" in attributes and attributes["direction"].s == b"bidirectional"
    directions, rows = 2 if double else 1, _times(hidden, len(cell.gates))
    size = data[2] if data is not None and len(data) == 3 else None
    needed = {layer.operator.data: [None] * 3, layer.operator.bias: [directions, _times(rows, 2)]}
    for weight, inputs in zip(layer.operator.weights, (size, hidden), strict=True):
        needed[weight.place] = [directions, *((rows, inputs) if weight.outputs < weight.inputs else (inputs, rows))]
    for place in sorted(needed):
        found, fitting = layer.shape(place), needed[place]
        if found is not None and (len(found) != len(fitting) or any(map(_differ, found, fitting))):
            shown = ["?" if n is None else n for n in fitting]
            yield f"gets {layer.names[place]!r} of the shape {found}, where {shown} is needed"


def _times(size: int | None, count: int) -> int | None:
    return None if size is None else size * count


def _differ(a: int | None, b: int | None) -> bool:
    return a is not None and b is not None and a != b


_RULES: dict[Form, Callable[[_Layer], Iterator[str]]] = {
    Form.CONVOLUTION: _convolution,
    Form.TRANSPOSED_CONVOLUTION: _convolution,
    Form.GEMM: _gemm,
    Form.NORMALIZATION: _norm,
    Form.RECURRENT: _recurrent,
}
