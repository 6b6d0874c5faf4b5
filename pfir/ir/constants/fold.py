"""Constant folding: tensors whose value is known before any input is given become initializers."""

# ruff: noqa: SIM905  (a list of operators reads best as words)
from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.ir.constants.codebooks import decoding_nodes
from pfir.ir.edit import Names, array, is_op, operand, opset, sweep, to_constant
from pfir.ir.onnx_io.tensors import fill_proto, fill_small
from pfir.ir.onnx_io.writing import Fill, write_graph

# What a fold may grow to: above it the node is cheaper to store than its result.
LARGEST_EXPANSION_BYTES = 1 << 20
# No tensor has more axes; a longer vector of whole numbers is no shape.
LONGEST_SHAPE = 64

# Data movement, arithmetic and comparison, where onnx's reference equals ONNX Runtime to rounding. DequantizeLinear
# stays (folding it would undo a quantization), and so does everything random or iterative.
_FOLDABLE = frozenset(
    "Abs Add And Cast Ceil Clip Concat ConstantOfShape Cos Div Equal Erf Exp Expand Flatten Floor Gather "
    "GatherElements GatherND Gemm Greater GreaterOrEqual Less LessOrEqual Log MatMul Max Min Mod Mul Neg Not Or "
    "Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape ScatterND Shape "
    "Sigmoid Sign Sin Size Slice Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor".split()
)


def constants_to_initializers(graph: gs.Graph) -> int:
    """Make initializers of Constant nodes, under the same names; the number of nodes that went."""
    holding = {t.name for t in graph.outputs}
    count = 0
    for node in [n for n in graph.nodes if is_op(n, "Constant")]:
        value = _constant_value(node)
        if value is None or node.outputs[0].name in holding:
            continue
        to_constant(node.outputs[0], value)
        count += 1
    sweep(graph)
    return count


def _constant_value(node: gs.Node) -> np.ndarray | gs.Constant | None:
    if len(node.attrs) != 1:
        return None
    ((kind, value),) = node.attrs.items()
    if kind == "value" and isinstance(value, gs.Constant):
        return value
    dtype = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    return np.asarray(value, dtype[kind]) if kind in dtype else None


class Growth:
    """The bytes that folding, in however many rounds, may add to a graph: 16 MiB and twice its largest constant.

    Results count, and inputs that nothing else uses count against them: without a bound, two nodes double a constant.
    """

    def __init__(self, graph: gs.Graph) -> None:
        constants = (t for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant))
        self.left = (16 << 20) + 2 * max((t._values.nbytes for t in constants), default=0)

    def allows(self, node: gs.Node, needed: int) -> bool:
        return needed <= self.left + _freed(node)

    def take(self, node: gs.Node, needed: int) -> None:
        self.left -= max(0, needed - _freed(node))


def fold_constants(graph: gs.Graph, growth: Growth | None = None) -> int:
    """Make initializers of nodes whose inputs are all constant; the number of nodes that went.

    Results above a megabyte that are larger than their inputs stay as nodes, and so do nodes whose evaluation fails and
    those beyond what folding may add, and what takes weights out of codebooks.
    """
    holding = {t.name for t in graph.outputs}
    count, growth, decoding = 0, growth or Growth(graph), decoding_nodes(graph)
    for node in list(graph.nodes):
        if id(node) in decoding or not _is_constant(node) or any(t.name in holding for t in node.outputs):
            continue
        results = _evaluate(graph, node, growth)
        if results is None:
            continue
        growth.take(node, sum(r.nbytes for r in results))
        tensors = list(node.outputs)
        for tensor, value in zip(tensors, results, strict=True):
            to_constant(tensor, value)
        count += 1
    sweep(graph)
    return count


def _freed(node: gs.Node) -> int:
    """Bytes of the inputs that nothing else uses."""
    return sum(t.values.nbytes for t in _distinct(node) if all(user is node for user in t.outputs))


def _distinct(node: gs.Node) -> list[gs.Constant]:
    return list({id(t): t for t in node.inputs if not t.is_empty()}.values())


def _is_constant(node: gs.Node) -> bool:
    if is_op(node, "Identity"):
        # Exporters share equal vectors (biases, BatchNorm) through Identity: each gets its own. A matrix behind one is
        # meant to be shared.
        return isinstance(node.inputs[0], gs.Constant) and len(node.inputs[0].shape) <= 1
    if node.op not in _FOLDABLE or not is_op(node, node.op) or not node.outputs:
        return False
    if any(t.is_empty() for t in node.outputs):
        return False
    return bool(node.inputs) and all(t.is_empty() or isinstance(t, gs.Constant) for t in node.inputs)


def _evaluate(graph: gs.Graph, node: gs.Node, growth: Growth) -> list[np.ndarray] | None:
    if is_op(node, "Identity"):
        values = node.inputs[0].values
        return [values] if growth.allows(node, values.nbytes) else None
    from onnx.reference import ReferenceEvaluator

    light = onnx.shape_inference.infer_shapes(_single_node_model(graph, node, fill_small))
    if not _small_enough(light, node, growth):
        return None
    with np.errstate(all="ignore"):
        try:
            results = ReferenceEvaluator(_single_node_model(graph, node, fill_proto)).run(None, {})
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, MemoryError):
            return None  # the reference lacks this case: the node stays, and ONNX Runtime evaluates it
    return [np.asarray(r) for r in results] if _sound(results, light) else None


def _single_node_model(graph: gs.Graph, node: gs.Node, fill: Fill) -> onnx.ModelProto:
    """The node with its constants as a model."""
    model = onnx.ModelProto(ir_version=10, opset_import=[onnx.helper.make_opsetid("", opset(graph))])
    write_graph(gs.Graph([node], [], [], name="fold", opset=opset(graph)), model.graph, model.ir_version, fill)
    del model.graph.value_info[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(t.name) for t in node.outputs)
    return model


def _small_enough(proto: onnx.ModelProto, node: gs.Node, growth: Growth) -> bool:
    """Whether the results are known to be small, or no larger than the inputs that they replace."""
    available = sum(t.values.nbytes for t in _distinct(node))
    needed = 0
    for out in proto.graph.output:
        kind = out.type.tensor_type
        if not kind.HasField("shape") or not all(d.HasField("dim_value") for d in kind.shape.dim):
            return False
        elements = 1
        for dim in kind.shape.dim:
            elements *= dim.dim_value
        if elements < 0 or not kind.elem_type:
            return False
        needed += elements * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).itemsize
    return needed <= max(LARGEST_EXPANSION_BYTES, available) and growth.allows(node, needed)


def _sound(results: list, proto: onnx.ModelProto) -> bool:
    """Whether values have the type and sizes that shape inference promised."""
    for value, out in zip(results, proto.graph.output, strict=True):
        kind = out.type.tensor_type
        expected = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if np.asarray(value).dtype != expected or np.shape(value) != tuple(d.dim_value for d in kind.shape.dim):
            return False
    return True


def fold_shapes(graph: gs.Graph) -> int:
    """Make constant what is computed from sizes alone, where they are known; shapes must be inferred.

    A Reshape whose target holds a dynamic size gets a constant target too where that is exact: 0 where the size is the
    data's own at that position, -1 where it is the only unknown one.
    """
    values = _size_values(graph)
    holding = {t.name for t in graph.outputs}
    names, count = Names(graph), 0
    for node in list(graph.nodes):
        if is_op(node, "Reshape"):
            count += _fix_target(node, values, names)
    for node in list(graph.nodes):
        if len(node.outputs) != 1 or node.outputs[0].name in holding:
            continue
        known = values.get(node.outputs[0].name)
        if known is None or not all(isinstance(v, int) for v in known[0]):
            continue
        dtype = node.outputs[0].dtype or np.int64
        to_constant(node.outputs[0], np.array(known[0][0] if known[1] else known[0], dtype))
        count += 1
    sweep(graph)
    return count


def _size_values(graph: gs.Graph) -> dict[str, tuple[list, bool]]:
    """Tensor name to (sizes, whether it is a scalar); a size is an int or, where dynamic, a hashable symbol."""
    values: dict[str, tuple[list, bool]] = {}
    for node in graph.nodes:
        rule = _SIZE_RULES.get(node.op) if is_op(node, node.op) else None
        if rule is None or not node.inputs or not node.outputs:
            continue
        value = rule(node, values)
        if value is not None and len(value[0]) <= LONGEST_SHAPE:
            values[node.outputs[0].name] = value
    return values


def dims(tensor: gs.Tensor) -> list | None:
    """The sizes of a tensor: ints, and a symbol where dynamic (its name, or the tensor and axis if it has none)."""
    if tensor.shape is None:
        return None
    return [
        int(d) if isinstance(d, int | np.integer) and d > 0 else (d if isinstance(d, str) and d else (tensor.name, i))
        for i, d in enumerate(tensor.shape)
    ]


def _read(tensor: gs.Tensor | None, values: dict) -> tuple[list, bool] | None:
    if tensor is None:
        return None
    known = array(tensor)
    if known is None:
        return values.get(tensor.name)
    if known.ndim > 1 or known.dtype.kind not in "iu" or known.size > LONGEST_SHAPE:
        return None
    return [int(v) for v in known.ravel()], known.ndim == 0


def _of_shape(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    sizes = dims(node.inputs[0])
    if sizes is None:
        return None
    return sizes[slice(node.attrs.get("start", 0), node.attrs.get("end", len(sizes)))], False


def _of_gather(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    data, index = _read(node.inputs[0], values), array(node.inputs[1])
    if data is None or data[1] or index is None or index.ndim > 1 or index.size > LONGEST_SHAPE:
        return None
    if node.attrs.get("axis", 0) not in (0, -1):
        return None
    if any(not -len(data[0]) <= i < len(data[0]) for i in index.ravel()):
        return None
    return [data[0][i] for i in index.ravel()], index.ndim == 0


def _of_slice(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    data = _read(node.inputs[0], values)
    if data is None or data[1]:
        return None
    bounds = slice_bounds(node)
    if bounds is None or len(bounds) != 1:
        return None
    start, end, step = bounds.get(0, bounds.get(-1, (None, None, None)))
    if start is None or step < 1:
        return None
    return data[0][start:end:step], False


def slice_bounds(node: gs.Node) -> dict[int, tuple[int, int, int]] | None:
    """Axis to (start, end, step) of a Slice with constant bounds, as written; None where they are computed.

    It is None, too, where there are not as many of one as of the other.
    """
    if "starts" in node.attrs:
        starts, ends = node.attrs["starts"], node.attrs["ends"]
        axes, steps = node.attrs.get("axes", range(len(starts))), [1] * len(starts)
    else:
        given = [array(operand(node, i)) for i in range(1, 5)]
        if given[0] is None or given[1] is None or any(operand(node, i) and given[i - 1] is None for i in (3, 4)):
            return None
        starts, ends = given[0].ravel(), given[1].ravel()
        axes = range(len(starts)) if given[2] is None else given[2].ravel()
        steps = [1] * len(starts) if given[3] is None else given[3].ravel()
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return None
    return {int(a): (int(s), int(e), int(t)) for a, s, e, t in zip(axes, starts, ends, steps, strict=True)}


def _of_concat(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    parts = [_read(t, values) for t in node.inputs]
    if any(p is None or p[1] for p in parts):
        return None
    return [v for p in parts for v in p[0]], False


def _of_unsqueeze(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    value = _read(node.inputs[0], values)
    return (value[0], False) if value is not None and value[1] else None


def _of_squeeze(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    value = _read(node.inputs[0], values)
    return (value[0], True) if value is not None and not value[1] and len(value[0]) == 1 else None


def _of_cast(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    kept = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, np.dtype(np.int64), np.dtype(np.int32))
    return _read(node.inputs[0], values) if node.attrs.get("to") in kept else None


def _of_product(node: gs.Node, values: dict) -> tuple[list, bool] | None:
    left, right = _read(node.inputs[0], values), _read(node.inputs[1], values)
    if left is None or right is None or len(left[0]) != 1 or len(right[0]) != 1:
        return None
    a, b = left[0][0], right[0][0]
    if isinstance(a, int) and isinstance(b, int):
        return ([a * b], left[1] and right[1]) if abs(a * b) < 1 << 63 else None
    if 1 in (a, b):
        return [a if b == 1 else b], left[1] and right[1]
    return None


_SIZE_RULES = {
    "Shape": _of_shape,
    "Gather": _of_gather,
    "Slice": _of_slice,
    "Concat": _of_concat,
    "Unsqueeze": _of_unsqueeze,
    "Squeeze": _of_squeeze,
    "Cast": _of_cast,
    "Identity": lambda node, values: _read(node.inputs[0], values),
    "Mul": _of_product,
}


def _fix_target(node: gs.Node, values: dict, names: Names) -> int:
    target = node.inputs[1]
    known = None if isinstance(target, gs.Constant) else values.get(target.name)
    sizes = dims(node.inputs[0])
    if known is None or sizes is None or node.attrs.get("allowzero", 0):
        return 0
    fixed = [0 if not isinstance(v, int) and i < len(sizes) and sizes[i] == v else v for i, v in enumerate(known[0])]
    unknown = [i for i, v in enumerate(fixed) if not isinstance(v, int)]
    if len(unknown) > 1 or (unknown and -1 in fixed):
        return 0
    for i in unknown:
        fixed[i] = -1
    node.inputs[1] = gs.Constant(names.fresh(f"{target.name}_fixed"), np.array(fixed, np.int64))
    return 1
