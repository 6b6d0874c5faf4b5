"""Changes that keep a model readable and make its parts contradict each other: shapes, types, attributes, names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.fuzz.case import chance, pick
from benchmarks.fuzz.fields import FLOATS, INTEGERS, TEXTS

OPERATORS = tuple(sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}))
_TYPES = (np.float32, np.float64, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_, np.int16, np.uint64)
_KINDS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 21, 22, 0, 99)


def contradict(rng: np.random.Generator, model: ModelProto, folder: Path) -> str:
    """Make one such change; say which.

    Args:
        folder: Where the model will lie, for values beside it.
    """
    change = pick(rng, _CHANGES)
    change(rng, model, folder)
    return change.__name__.strip("_")


def texts(model: ModelProto) -> tuple[str, ...]:
    """Names of tensors and nodes, and some operators."""
    graph = model.graph
    names = {name for n in graph.node for name in (*n.input, *n.output, n.name, n.op_type)}
    return tuple(sorted(names | {t.name for t in graph.initializer} | {i.name for i in graph.input}))


def _rewire(rng, model: ModelProto, _) -> None:
    node, names = _node(rng, model), _tensors(model)
    if node is not None and len(node.input):
        node.input[int(rng.integers(len(node.input)))] = pick(rng, (*names, ""))


def _drop_an_input(rng, model: ModelProto, _) -> None:
    node = _node(rng, model)
    if node is not None and len(node.input):
        del node.input[int(rng.integers(len(node.input))) :]


def _add_an_input(rng, model: ModelProto, _) -> None:
    node = _node(rng, model)
    if node is not None:
        node.input.append(pick(rng, (*_tensors(model), "", "nowhere")))


def _exchange_inputs(rng, model: ModelProto, _) -> None:
    node = _node(rng, model)
    if node is not None and len(node.input) > 1:
        a, b = rng.integers(len(node.input), size=2)
        first, second = node.input[a], node.input[b]
        node.input[a], node.input[b] = second, first


def _other_operator(rng, model: ModelProto, _) -> None:
    node = _node(rng, model)
    if node is not None:
        node.op_type = pick(rng, OPERATORS)


def _other_attribute(rng, model: ModelProto, _) -> None:
    node = _node(rng, model)
    if node is None:
        return
    if len(node.attribute) and chance(rng, 0.7):
        _change_attribute(rng, pick(rng, node.attribute))
    else:
        _give_attribute(rng, node)


def _change_attribute(rng, attribute) -> None:
    if attribute.type == onnx.AttributeProto.INTS:
        values = list(attribute.ints)
        action = pick(rng, ("shorter", "longer", "other", "other"))
        if action == "shorter":
            values = values[:-1]
        elif action == "longer" or not values:
            values.append(pick(rng, INTEGERS))
        else:
            values[int(rng.integers(len(values)))] = pick(rng, INTEGERS)
        attribute.ints[:] = values
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = pick(rng, INTEGERS)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = pick(rng, FLOATS)
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = pick(rng, TEXTS).encode()
    else:
        attribute.type = int(rng.integers(0, 15))


def _give_attribute(rng, node: NodeProto) -> None:
    try:
        known = onnx.defs.get_schema(node.op_type, 21).attributes
    except onnx.defs.SchemaError:
        return
    if not known:
        return
    name = pick(rng, sorted(known))
    kind = known[name].type
    values = {
        onnx.defs.OpSchema.AttrType.INT: pick(rng, INTEGERS),
        onnx.defs.OpSchema.AttrType.FLOAT: pick(rng, FLOATS),
        onnx.defs.OpSchema.AttrType.STRING: pick(rng, TEXTS),
        onnx.defs.OpSchema.AttrType.INTS: [pick(rng, INTEGERS) for _ in range(int(rng.integers(1, 6)))],
        onnx.defs.OpSchema.AttrType.FLOATS: [pick(rng, FLOATS) for _ in range(int(rng.integers(1, 6)))],
    }
    if kind in values:
        node.attribute.append(helper.make_attribute(name, values[kind]))


def _other_constant(rng, model: ModelProto, _) -> None:
    """Another shape or type of a constant, its values in keeping with it."""
    if not len(model.graph.initializer):
        return
    tensor = pick(rng, model.graph.initializer)
    try:
        array = numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001  (damaged before)
        return
    tensor.CopyFrom(numpy_helper.from_array(_reshaped(rng, array), tensor.name))


def _reshaped(rng, array: np.ndarray) -> np.ndarray:
    action = pick(rng, ("rank", "rank", "size", "type", "values", "scalar", "none"))
    if action == "rank":
        return array[None] if chance(rng, 0.5) or array.ndim == 0 else array.reshape(-1, *array.shape[2:])
    if action == "size" and array.ndim:
        axis, size = int(rng.integers(array.ndim)), int(rng.integers(0, 6))
        return np.take(array, np.arange(size) % max(1, array.shape[axis]), axis) if array.size else array
    if action == "type":
        return array.astype(pick(rng, _TYPES)) if array.dtype != object else array
    if action == "values" and array.dtype.kind in "iu" and array.size:
        changed = array.copy()
        limits = np.iinfo(array.dtype)
        changed.flat[int(rng.integers(array.size))] = min(max(pick(rng, INTEGERS), limits.min), limits.max)
        return changed
    if action == "values" and array.dtype.kind == "f" and array.size:
        changed = array.copy()
        changed.flat[int(rng.integers(array.size))] = pick(rng, FLOATS[:6])
        return changed
    return (
        array.reshape(-1)[:1].reshape(()) if action == "scalar" and array.size else array[:0] if array.ndim else array
    )


def _constant_becomes_input(rng, model: ModelProto, _) -> None:
    if len(model.graph.initializer):
        tensor = pick(rng, model.graph.initializer)
        shape = pick(rng, (list(tensor.dims), None, ["N", *tensor.dims[1:]]))
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
        if chance(rng, 0.5):
            model.graph.initializer.remove(tensor)


def _other_interface(rng, model: ModelProto, _) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    kind = pick(rng, values).type.tensor_type
    action = pick(rng, ("type", "shorter", "longer", "size", "name", "none"))
    if action == "type":
        kind.elem_type = pick(rng, _KINDS)
    elif action == "longer":
        kind.shape.dim.add().dim_value = int(rng.integers(0, 4))
    elif action == "none":
        kind.ClearField("shape")
    elif len(kind.shape.dim):
        at = int(rng.integers(len(kind.shape.dim)))
        if action == "shorter":
            del kind.shape.dim[at]
        elif action == "size":
            kind.shape.dim[at].dim_value = pick(rng, INTEGERS)
        else:
            kind.shape.dim[at].dim_param = pick(rng, TEXTS)


def _other_opset(rng, model: ModelProto, _) -> None:
    if len(model.opset_import):
        pick(rng, model.opset_import).version = int(rng.integers(1, 27))
    if chance(rng, 0.2):
        model.ir_version = int(rng.integers(1, 15))


def _other_output(rng, model: ModelProto, _) -> None:
    if len(model.graph.output):
        name = pick(rng, _tensors(model))
        value = pick(rng, model.graph.output)
        value.name = name
        if chance(rng, 0.7):
            value.type.tensor_type.ClearField("shape")


def _another_node(rng, model: ModelProto, _) -> None:
    """A node that reads what is there and adds an output."""
    names = _tensors(model)
    inputs = [pick(rng, names) for _ in range(int(rng.integers(0, 5)))]
    node = helper.make_node(pick(rng, OPERATORS), inputs, ["made"], name="made")
    if chance(rng, 0.5):
        _give_attribute(rng, node)
    model.graph.node.append(node)
    model.graph.output.append(helper.make_tensor_value_info("made", pick(rng, _KINDS[:11]), None))


def _nodes_in_a_body(rng, model: ModelProto, _) -> None:
    """All nodes move into both branches of an If, or the body of a Loop, around them."""
    graph = model.graph
    if not len(graph.node) or not len(graph.output):
        return
    outer = graph.node[0].op_type == "If"
    inner = onnx.GraphProto(name="body")
    inner.node.extend(graph.node)
    inner.output.extend(graph.output)
    if chance(rng, 0.3):
        inner.initializer.extend(graph.initializer)
        del graph.initializer[:]
    other = onnx.GraphProto()
    other.CopyFrom(inner)
    if chance(rng, 0.3) and len(other.node):
        del other.node[int(rng.integers(len(other.node))) :]
    condition = pick(rng, ("a", "b")) if outer else "condition"
    graph.initializer.append(numpy_helper.from_array(np.array(chance(rng, 0.5)), condition))
    names = [o.name for o in graph.output]
    del graph.node[:]
    graph.node.append(helper.make_node("If", [condition], names, name="if", then_branch=inner, else_branch=other))


def _values_outside(rng, model: ModelProto, folder: Path) -> None:
    """A constant's values lie in a file beside the model, or are said to."""
    kept = [t for t in model.graph.initializer if t.HasField("raw_data")]
    if not kept:
        return
    tensor = pick(rng, kept)
    raw = tensor.raw_data
    places = (
        "w.bin",
        "w.bin",
        "w.bin",
        "../w.bin",
        "/etc/passwd",
        "sub/w.bin",
        "",
        "x" * 300,
        "w.bin\x00",
        ".",
        "pipe",
    )
    place = pick(rng, places)
    if place in ("w.bin",):
        (folder / place).write_bytes(raw[: int(rng.integers(len(raw) + 1))] if chance(rng, 0.3) else raw)
    entries = {"location": place, "offset": pick(rng, ("0", "0", "-1", "4", "x", "9" * 30)), "length": str(len(raw))}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        if chance(rng, 0.85):
            tensor.external_data.add(key=key, value=value)


def _node(rng, model: ModelProto) -> NodeProto | None:
    """A node of the graph, or of a body in it."""
    nodes = list(model.graph.node)
    nodes += [m for n in nodes for a in n.attribute for m in a.g.node]
    return pick(rng, nodes) if nodes else None


def _tensors(model: ModelProto) -> tuple[str, ...]:
    graph = model.graph
    names = [*(t.name for t in graph.initializer), *(i.name for i in graph.input)]
    return tuple(dict.fromkeys([*names, *(o for n in graph.node for o in n.output)])) or ("x",)


_CHANGES = (
    _rewire,
    _rewire,
    _drop_an_input,
    _add_an_input,
    _exchange_inputs,
    _other_operator,
    _other_attribute,
    _other_attribute,
    _other_attribute,
    _other_constant,
    _other_constant,
    _other_constant,
    _constant_becomes_input,
    _other_interface,
    _other_interface,
    _other_opset,
    _other_output,
    _another_node,
    _another_node,
    _nodes_in_a_body,
    _values_outside,
)
