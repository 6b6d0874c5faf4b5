"""Sizes and types of every tensor: inferred where they are dynamic, or fixed once and for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.checking import inference_growth as growth
from pfir.ir.constants.fold import Growth, constants_to_initializers, fold_constants, fold_shapes
from pfir.ir.edit import STANDARD_DOMAINS, remove_dead
from pfir.ir.model import Model
from pfir.ir.onnx_io import walk
from pfir.ir.onnx_io.tensors import fill_small, numpy_dtype, symbol
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import operator_named

_ROUNDS = 12

# ONNX Runtime's own operators by what they are apart from fused activations and scales, and those that keep sizes and
# type.
_PLAIN_FORM = {
    "DequantizeLinear": "DequantizeLinear",
    "DynamicQuantizeMatMul": "MatMul",
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "QLinearAdd": "Add",
    "QLinearAveragePool": "AveragePool",
    "QLinearConcat": "Concat",
    "QLinearConv": "QLinearConv",
    "QGemm": "Gemm",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearMul": "Mul",
    "QuantizeLinear": "QuantizeLinear",
}
_TO_FLOAT = {"MatMulIntegerToFloat": "MatMulInteger", "QGemm": "Gemm"}
_LIKE_INPUT = frozenset(
    (
        *("BiasGelu", "FastGelu", "Gelu", "GroupNorm", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"),
        *("QuickGelu", "SkipLayerNormalization"),
    )
)


def infer_shapes(model: Model) -> None:
    """Fill dtype and shape of every Variable that can be known, symbols where dynamic; graph inputs and outputs stay.

    Shapes found before are dropped (a pass may have changed them), except for results of operators that ONNX does not
    define, of which nothing else is known. Where sizes contradict each other, those behind stay unknown.
    """
    graph = model.graph
    border = {t.name for t in (*graph.inputs, *graph.outputs)}
    foreign = {t.name for n in graph.nodes if n.domain not in STANDARD_DOMAINS for t in n.outputs}
    known = _infer(_light_proto(model, foreign))
    for name, tensor in graph.tensors().items():
        if isinstance(tensor, gs.Constant) or name in border:
            continue
        if name in known:
            tensor.dtype, tensor.shape = known[name]
        elif name not in foreign:
            tensor.shape = None


def inner_shapes(model: Model) -> dict[str, tuple[int | str | None, ...]]:
    """Sizes of tensors in bodies of If, Loop and Scan by name, as far as they follow from those outside."""
    if not any(True for _ in model.graph.subgraphs()):
        return {}
    proto = _light_proto(model, {t.name for t in model.graph.tensors().values()})
    for body in _inner(proto.graph):
        del body.value_info[:]
        for value in (*body.input, *body.output):
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    inferred = growth.infer_shapes(proto, data_prop=True).graph
    values = (v for body in _inner(inferred) for v in (*body.value_info, *body.output))
    known = {v.name: _known(v.type.tensor_type)[1] for v in values if v.type.HasField("tensor_type")}
    return {name: tuple(dims) for name, dims in known.items() if dims is not None}


def _inner(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Every body in a graph."""
    return (body for node in walk.nodes_within(graph) for body in walk.bodies(node))


def _light_proto(model: Model, trusted: set[str]) -> onnx.ModelProto:
    """The model without the values of its large arrays, and with only these of the shapes noted in it."""
    proto = model.to_proto(fill=fill_small)
    kept = [v for v in proto.graph.value_info if v.name in trusted]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    nodes = [made for node in proto.graph.node for made in _by_way_of_integers(node)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    for node in proto.graph.node:
        _stand_in(node)
        if node.op_type == "STFT" and not any(a.name == "onesided" for a in node.attribute):
            # onnx takes it for 0 where it is left out.
            node.attribute.append(onnx.helper.make_attribute("onesided", 1))
    return proto


def _stand_in(node: onnx.NodeProto) -> None:
    """Turn a node that onnx has no inference for into one with the same sizes and type, for inference only."""
    if len(node.output) != 1:
        return
    if any(a.name == "channels_last" and a.i for a in node.attribute):
        return
    if node.domain == "com.microsoft" and node.op_type in _PLAIN_FORM:
        inputs = _without_scales(node, _PLAIN_FORM[node.op_type])
        node.op_type, node.domain = _PLAIN_FORM[node.op_type], ""
        kept = [a for a in node.attribute if not a.name.startswith(("activation", "channels_last"))]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.input[:] = inputs
    elif node.op_type in (_LIKE_INPUT if node.domain == "com.microsoft" else ("GroupNormalization",)):
        node.op_type, node.domain = "Identity", ""
        del node.attribute[:]
        del node.input[1:]


def _without_scales(node: onnx.NodeProto, plain: str) -> list[str]:
    """The inputs that an operator shares with its plain form; all of them where that is the same but for the domain."""
    operator = operator_named(node.op_type, node.domain)
    if node.op_type == plain:
        return list(node.input)
    if operator.form is Form.CONCAT:
        return list(node.input[operator.data :: 3])
    if not operator.is_linear:
        return [node.input[i] for i in operator.integers]
    bias = operator.bias if operator_named(plain).bias is not None else None
    places = (operator.data, operator.weight.place, bias)
    return [node.input[i] for i in places if i is not None and i < len(node.input)]


def _by_way_of_integers(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node; where it gives floats made of integers, an operator that onnx knows and a Cast for it."""
    if node.domain != "com.microsoft" or node.op_type not in _TO_FLOAT:
        return [node]
    made = operator_named(node.op_type, node.domain).result
    if made is not None and any(node.input[made.scale :]):  # The result has a scale: it is of integers.
        return [node]
    kind, result = _TO_FLOAT[node.op_type], f"{node.output[0]}#integers"
    plain = onnx.helper.make_node(kind, _without_scales(node, kind), [result])
    plain.attribute.extend(node.attribute)
    return [plain, onnx.helper.make_node("Cast", [result], [node.output[0]], to=onnx.TensorProto.FLOAT)]


def _infer(proto: onnx.ModelProto) -> dict[str, tuple[np.dtype | None, list | None]]:
    inferred = growth.infer_shapes(proto, data_prop=True)
    infos = (*inferred.graph.value_info, *inferred.graph.output)
    return {i.name: _known(i.type.tensor_type) for i in infos if i.type.HasField("tensor_type")}


def _known(kind: onnx.TypeProto.Tensor) -> tuple[np.dtype | None, list | None]:
    dtype = numpy_dtype(kind.elem_type) if kind.elem_type else None
    if not kind.HasField("shape"):
        return dtype, None
    return dtype, [d.dim_value if d.HasField("dim_value") else symbol(d.dim_param) for d in kind.shape.dim]


def fix_sizes(model: Model, batch: int | None = None, input_shapes: Mapping[str, Sequence[int]] | None = None) -> Model:
    """A new model in which every size is a number; what is computed from sizes alone is folded.

    Sizes that depend on values (NonZero, NonMaxSuppression) stay unknown. The given model is not changed.

    Args:
        model: With dynamic sizes or without.
        batch: The size of the first axis, at least 1; None is the model's own, 1 where that is dynamic.
        input_shapes: Full shapes by input name, sizes of at least 1.

    Raises:
        UsageError: A size is neither in the model nor given, or what is given contradicts the model.
    """
    fixed = model.clone()
    shapes = _input_shapes(model, batch, dict(input_shapes or {}))
    for tensor in fixed.graph.inputs:
        tensor.shape = list(shapes[tensor.name])
    fixed.source = None
    for tensor in _computed(fixed.graph.outputs):
        tensor.shape = None
    _fold_until_known(fixed)
    return fixed


def _fold_until_known(model: Model) -> None:
    """Fold, then infer, until nothing moves: each constant may make further sizes known."""
    constants_to_initializers(model.graph)
    growth = Growth(model.graph)
    for _ in range(_ROUNDS):
        infer_shapes(model)
        if not fold_shapes(model.graph) + fold_constants(model.graph, growth):
            break
    remove_dead(model.graph)
    known = _infer(_light_proto(model, set()))
    for tensor in _computed(model.graph.outputs):
        if tensor.name in known:
            tensor.shape = known[tensor.name][1]


def _computed(tensors: Sequence[gs.Tensor]) -> list[gs.Variable]:
    """The tensors that are no constants: the shape of a constant is that of its values."""
    return [t for t in tensors if isinstance(t, gs.Variable)]


def _input_shapes(model: Model, asked: int | None, given: dict[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    batch = 1 if asked is None else asked
    if batch < 1:
        raise UsageError(f"--batch is {batch}; it must be at least 1")
    names = [t.name for t in model.graph.inputs]
    for name in given:
        if name not in names:
            raise UsageError(f"--input-shape names {name}, but the model's inputs are: {', '.join(names)}")
    bound = _bind_given(model, given)
    for tensor in model.graph.inputs:
        if tensor.name not in given and tensor.shape and isinstance(tensor.shape[0], str):
            bound.setdefault(tensor.shape[0], batch)
    shapes = {t.name: _fixed_shape(t, batch, given.get(t.name), bound) for t in model.graph.inputs}
    if asked is not None:
        _check_batch(model, asked, shapes)
    return shapes


def _bind_given(model: Model, given: dict[str, Sequence[int]]) -> dict[str, int]:
    """Symbol to size, from the shapes that were given."""
    bound: dict[str, int] = {}
    for tensor in model.graph.inputs:
        if tensor.name not in given or tensor.shape is None:
            continue
        for name, size in zip(tensor.shape, given[tensor.name], strict=False):
            if isinstance(name, str) and name and bound.setdefault(name, int(size)) != int(size):
                raise UsageError(
                    f"--input-shape gives {name} of input {tensor.name} the size {size}; elsewhere it is {bound[name]}"
                )
    return bound


def _fixed_shape(
    tensor: gs.Variable, batch: int, given: Sequence[int] | None, bound: Mapping[str, int]
) -> tuple[int, ...]:
    if given is not None:
        _check_given(tensor, given)
        return tuple(int(d) for d in given)
    if tensor.shape is None:
        raise UsageError(f"input {tensor.name} has no shape; give it: --input-shape {tensor.name}=1x3x224x224")
    shape = [_size(d, i, batch, bound) for i, d in enumerate(tensor.shape)]
    if None in shape:
        hint = "x".join("?" if d is None else str(d) for d in shape)
        raise UsageError(
            f"input {tensor.name} has shape {_text(tensor.shape)}; "
            f"give its sizes: --input-shape {tensor.name}={hint} with a number for each ?"
        )
    return tuple(shape)


def _size(size: int | str | None, axis: int, batch: int, bound: Mapping[str, int]) -> int | None:
    if isinstance(size, int | np.integer) and size > 0:
        return int(size)
    if isinstance(size, str) and size in bound:
        return bound[size]
    return batch if axis == 0 else None


def _check_given(tensor: gs.Variable, given: Sequence[int]) -> None:
    text = f"--input-shape {tensor.name}={'x'.join(map(str, given))}"
    if any(int(d) < 1 for d in given):
        raise UsageError(f"{text} has a size below 1")
    if tensor.shape is None:
        return
    if len(tensor.shape) != len(given):
        raise UsageError(f"{text} has {len(given)} axes; input {tensor.name} has {len(tensor.shape)}")
    for axis, (declared, size) in enumerate(zip(tensor.shape, given, strict=True)):
        if isinstance(declared, int | np.integer) and declared > 0 and declared != size:
            raise UsageError(f"{text} has size {size} on axis {axis}; the model fixes it to {declared}")


def _check_batch(model: Model, batch: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A batch that no input takes was asked for in vain."""
    firsts = {s[0] for s in shapes.values() if s}
    if batch in firsts or not firsts:
        return
    tensor = next(t for t in model.graph.inputs if shapes[t.name])
    raise UsageError(f"--batch is {batch}; input {tensor.name} has shape {_text(shapes[tensor.name])}")


def _text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
