"""A plain Q/DQ model of a small float one: what rounding and training of quantized models start from."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import is_op
from pfir.ir.linear import plain_layer
from pfir.ir.model import Model
from pfir.run.session import Session


def quantized(model: Model, feeds: dict[str, np.ndarray], weight_bits: int = 4, opset: int = 13) -> Model:
    """Activations as int8 by their extremes on these samples, weights to the nearest, each output channel's scale."""
    result = model.clone()
    graph = result.graph
    graph.opset = max(opset, graph.opset)
    places = [t for t in _tensors(graph) if t is not None]
    ranges = _ranges(model, [t.name for t in places], feeds)
    scales = {t.name: _pair(graph, t, *ranges[t.name]) for t in places}
    for node in list(graph.nodes):
        layer = plain_layer(node)
        if layer is not None:
            scale = _weight(graph, layer, 2 ** (weight_bits - 1) - 1)
            if layer.bias is not None:
                _bias(graph, layer, scale.ravel() * scales[layer.data.name.removesuffix("_dq")])
    graph.cleanup().toposort()
    result.record("quantized")
    return result


def _tensors(graph: gs.Graph) -> list[gs.Tensor]:
    found = {}
    for node in graph.nodes:
        if plain_layer(node) is not None or is_op(node, "Add", "GlobalAveragePool"):
            found.update((t.name, t) for t in node.inputs if not isinstance(t, gs.Constant) and t.name)
            result = node.outputs[0]
            while len(result.outputs) == 1 and is_op(result.outputs[0], "Relu", "Clip"):
                result = result.outputs[0].outputs[0]
            found[result.name] = result
    return list(found.values())


def _ranges(model: Model, names: list[str], feeds: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    copy = model.clone()
    tensors = copy.graph.tensors()
    computed = [n for n in names if n not in feeds]
    copy.graph.outputs = [tensors[n] for n in computed]
    for tensor in copy.graph.outputs:
        tensor.dtype, tensor.shape = np.dtype(np.float32), None
    values = {**Session(copy).predict(feeds), **feeds}
    return {n: (min(0.0, float(values[n].min())), max(0.0, float(values[n].max()))) for n in names}


def _pair(graph: gs.Graph, tensor: gs.Tensor, least: float, most: float) -> float:
    scale = np.float32((most - least) / 255 or 1.0)
    zero = np.int8(np.clip(np.rint(-128 - least / scale), -128, 127))
    readers, name = list({id(n): n for n in tensor.outputs}.values()), tensor.name
    given = [gs.Constant(f"{name}_scale", np.array(scale)), gs.Constant(f"{name}_zero", np.array(zero))]
    integers, floats = gs.Variable(f"{name}_q", np.dtype(np.int8)), gs.Variable(f"{name}_dq", np.dtype(np.float32))
    if tensor in graph.outputs:
        graph.outputs[graph.outputs.index(tensor)] = floats
        tensor.name, floats.name = f"{name}_float", name
        floats.shape = tensor.shape
    graph.nodes.append(gs.Node("QuantizeLinear", f"{name}_quantize", {}, [tensor, *given], [integers]))
    graph.nodes.append(gs.Node("DequantizeLinear", f"{name}_dequantize", {}, [integers, *given], [floats]))
    for reader in readers:
        reader.inputs = [floats if t is tensor else t for t in reader.inputs]
    return float(scale)


def _weight(graph: gs.Graph, layer, limit: int) -> np.ndarray:
    weight, axis = layer.weight.values, layer.output_axis
    rest = tuple(i for i in range(weight.ndim) if i != axis)
    scale = (np.abs(weight).max(rest, keepdims=True) / limit).astype(np.float32)
    integers = np.clip(np.rint(weight / scale), -limit, limit).astype(np.int8)
    _dequantized(graph, layer.node, layer.place, integers, scale.ravel(), axis)
    return scale


def _bias(graph: gs.Graph, layer, scale: np.ndarray) -> None:
    place = layer.operator.bias
    values = np.rint(layer.bias.values.astype(np.float64) / scale).astype(np.int32)
    _dequantized(graph, layer.node, place, values, scale.astype(np.float32), 0)


def _dequantized(graph: gs.Graph, node: gs.Node, place: int, integers, scale, axis: int) -> None:
    name = node.inputs[place].name
    zero = np.zeros(scale.shape, integers.dtype)
    given = [gs.Constant(f"{name}_{what}", x) for what, x in (("q", integers), ("s", scale), ("z", zero))]
    floats = gs.Variable(f"{name}_dq", np.dtype(np.float32))
    graph.nodes.append(gs.Node("DequantizeLinear", f"{name}_dequantize", {"axis": axis}, given, [floats]))
    node.inputs[place] = floats
