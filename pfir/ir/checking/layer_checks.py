"""Layers whose weights or windows do not fit their data: onnx's inference lets them pass, ONNX Runtime may crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from pfir.ir.edit import STANDARD_DOMAINS
from pfir.ir.onnx_io import walk

Dims = list[int | None] | None
"""The sizes of a tensor, None for one that is not known; None where its rank is not."""

# Operator to the places of data, weight and bias.
_CONVOLUTIONS = {
    "Conv": (0, 1, 2),
    "ConvTranspose": (0, 1, 2),
    "ConvInteger": (0, 1, None),
    "QLinearConv": (0, 3, 8),
    "FusedConv": (0, 1, 2),
}
_NORMS = {"BatchNormalization": range(1, 5), "InstanceNormalization": range(1, 3)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_WINDOWS = ("kernel_shape", "strides", "dilations")


def layer_fault(inferred: ModelProto) -> str | None:
    """What does not fit in the first layer of a model, by its inferred shapes; None if all of them fit.

    Where a size is not known, it fits.
    """
    shapes = _shapes(inferred)
    for node in chain.from_iterable(body.node for body in walk.graphs(inferred)):
        if node.domain in (*STANDARD_DOMAINS, "com.microsoft"):
            for fault in _faults(node, shapes):
                return f"{node.op_type} {node.name!r} {fault}"
    return None


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
    rule = _RULES.get(node.op_type)
    if rule is not None and not _channels_last(attributes):
        yield from rule(node, attributes, [shapes.get(name) if name else None for name in node.input])


def _channels_last(attributes: Mapping[str, AttributeProto]) -> bool:
    return "channels_last" in attributes and attributes["channels_last"].i != 0


def _convolution(node: NodeProto, attributes: Mapping[str, AttributeProto], dims: list[Dims]) -> Iterator[str]:
    """Data [N, C, *k]; a weight [M, C / group, *k], or [C, M / group, *k] transposed; a bias [M]."""
    data, weight, bias = (dims[i] if i is not None and i < len(dims) else None for i in _CONVOLUTIONS[node.op_type])
    group = attributes["group"].i if "group" in attributes else 1
    if group < 1:
        yield f"has {group} groups"
    if weight is None:
        return
    name = node.input[_CONVOLUTIONS[node.op_type][1]]
    if 0 in weight:
        yield f"has a weight {name!r} without elements, of the shape {weight}"
    if data is not None and len(data) != len(weight):
        yield f"gets data of {len(data)} axes, but its weight {name!r} has {len(weight)}"
    if len(weight) < 3:
        yield f"has a weight {name!r} of {len(weight)} axes; at least 3 are needed"
        return
    transposed = node.op_type == "ConvTranspose"
    inputs = weight[0] if transposed else _times(weight[1], group)
    outputs = _times(weight[1], group) if transposed else weight[0]
    if data is not None and _differ(data[1], inputs):
        yield f"gets {data[1]} channels, but its weight {name!r} is for {inputs}"
    if not transposed and outputs is not None and outputs % group:
        yield f"makes {outputs} channels in {group} groups"
    if bias is not None and (len(bias) != 1 or _differ(bias[0], outputs)):
        yield f"makes {outputs} channels, but its bias has the shape {bias}"
    yield from _windows(attributes, weight[2:])


def _gemm(node: NodeProto, attributes: Mapping[str, AttributeProto], dims: list[Dims]) -> Iterator[str]:
    """A weight [K, N], or [N, K] transposed; a bias that broadcasts to [M, N]."""
    weight, bias = (dims[i] if i < len(dims) else None for i in (1, 2))
    if weight is not None and 0 in weight:
        yield f"has a weight {node.input[1]!r} without elements, of the shape {weight}"
    if weight is None or bias is None or len(weight) != 2:
        return
    outputs = weight[0 if "transB" in attributes and attributes["transB"].i else 1]
    if len(bias) > 2 or (bias and bias[-1] != 1 and _differ(bias[-1], outputs)):
        yield f"makes {outputs} channels, but its bias {node.input[2]!r} has the shape {bias}"


def _windows(attributes: Mapping[str, AttributeProto], kernel: list[int | None]) -> Iterator[str]:
    """Attributes that have an entry, or two, for each axis of the kernel."""
    for name, entries in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2), ("output_padding", 1)):
        given = list(attributes[name].ints) if name in attributes else []
        if given and len(given) != entries * len(kernel):
            yield f"has {name} {given} for a kernel of {len(kernel)} axes"
        elif name == "kernel_shape" and any(map(_differ, given, kernel)):
            yield f"has kernel_shape {given}, but a weight for {kernel}"


def _norm(node: NodeProto, attributes: Mapping[str, AttributeProto], dims: list[Dims]) -> Iterator[str]:  # noqa: ARG001
    """Data [N, C, *], vectors [C]."""
    channels = dims[0][1] if dims and dims[0] is not None and len(dims[0]) > 1 else None
    for place in _NORMS[node.op_type]:
        vector = dims[place] if place < len(dims) else None
        if vector is not None and (len(vector) != 1 or _differ(vector[0], channels)):
            yield f"gets {channels} channels, but {node.input[place]!r} has the shape {vector}"


def _recurrent(node: NodeProto, attributes: Mapping[str, AttributeProto], dims: list[Dims]) -> Iterator[str]:
    """Data [*, *, I], weights [D, gates * H, I] and [D, gates * H, H], a bias [D, 2 * gates * H]."""
    given = [dims[i] if i < len(dims) else None for i in range(4)]
    hidden = attributes["hidden_size"].i if "hidden_size" in attributes else None
    double = "direction" in attributes and attributes["direction"].s == b"bidirectional"
    directions, rows = 2 if double else 1, _times(hidden, _GATES[node.op_type])
    size = given[0][2] if given[0] is not None and len(given[0]) == 3 else None
    wanted = ([None] * 3, [directions, rows, size], [directions, rows, hidden], [directions, _times(rows, 2)])
    for name, found, fitting in zip(node.input, given, wanted, strict=False):
        if found is not None and (len(found) != len(fitting) or any(map(_differ, found, fitting))):
            shown = ["?" if n is None else n for n in fitting]
            yield f"gets {name!r} of the shape {found}, where {shown} is needed"


def _times(size: int | None, count: int) -> int | None:
    return None if size is None else size * count


def _differ(a: int | None, b: int | None) -> bool:
    return a is not None and b is not None and a != b


_RULES: dict[str, Callable[[NodeProto, Mapping[str, AttributeProto], list[Dims]], Iterator[str]]] = {
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys(("Gemm", "FusedGemm"), _gemm),
    **dict.fromkeys(_NORMS, _norm),
    **dict.fromkeys(_GATES, _recurrent),
}
