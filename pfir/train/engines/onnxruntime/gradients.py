"""From a loss to its gradients: ONNX Runtime's gradient builder, called on a canonical model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pfir.errors import TrainingError
from pfir.train.runtime import options


@dataclass(frozen=True)
class GradientGraph:
    """A graph that computes the loss and its gradients in one run.

    Args:
        proto: Parameters and statistics are inputs; outputs are the scalars, `<parameter>_grad` and the new statistics.
        parameters: Name to value, in the order of the flat buffer.
        statistics: Running mean or variance to its value.
        statistics_outputs: Running mean or variance to the output that holds its new value.
        scalars: The loss, then the metrics.
    """

    proto: onnx.ModelProto
    parameters: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    statistics_outputs: dict[str, str]
    scalars: tuple[str, ...]


def build_gradients(
    proto: onnx.ModelProto, loss: str, trainable: tuple[str, ...], statistics: dict[str, str]
) -> GradientGraph:
    """Differentiate the loss by the trainable initializers.

    Args:
        proto: Canonical (see canonicalize), with all sizes fixed and shapes inferred; its outputs are scalars.
        loss: The scalar output to differentiate.
        trainable: Initializers that reach the loss.
        statistics: Initializer of a running statistic to the tensor that holds its update.

    Raises:
        TrainingError: An operator on the way has no gradient.
    """
    scalars = (loss, *(o.name for o in proto.graph.output if o.name != loss))
    parameters = _to_inputs(proto, trainable)
    running = _to_inputs(proto, tuple(statistics))
    for name, update in statistics.items():
        proto.graph.output.append(_float_info(update, running[name].shape))
    gradients = _differentiate(proto, loss, trainable)
    faster(gradients)
    return GradientGraph(gradients, parameters, running, statistics, scalars)


def _to_inputs(proto: onnx.ModelProto, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Turn initializers into graph inputs; their values, in the order of the names."""
    held = {i.name: i for i in proto.graph.initializer}
    values = {n: np.ascontiguousarray(numpy_helper.to_array(held[n]), np.float32) for n in names}
    kept = [i for i in proto.graph.initializer if i.name not in values]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    proto.graph.input.extend(_float_info(n, v.shape) for n, v in values.items())
    return values


def _float_info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _differentiate(proto: onnx.ModelProto, loss: str, trainable: tuple[str, ...]) -> onnx.ModelProto:
    from onnxruntime.capi import _pybind_state as native

    names = set(trainable)
    try:
        _straight_through()
        optimized = native.get_optimized_model(proto.SerializeToString(), names, options(1))
        builder = native.GradientGraphBuilder(optimized, {loss}, names, loss, options(1))
        builder.build()
        return onnx.load_from_string(builder.get_model())
    except Exception as error:  # the native module raises bare RuntimeError and its own types alike
        reason = str(error).strip().splitlines()[0][:300]
        raise TrainingError(f"no gradient for this model: {reason}") from error


@cache
def _straight_through() -> None:
    """Round hands its gradient on unchanged, in every model of this process: what learnt quantization needs.

    Source: Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", arXiv:1308.3432, section 2.3.
    """
    from onnxruntime.capi import _pybind_state as native

    identity = native.GradientNodeDefinition()
    identity.op_type, identity.inputs, identity.outputs = "Identity", ["GO(0)"], ["GI(0)"]
    native.register_gradient_definition("::Round", [identity])


def faster(proto: onnx.ModelProto) -> None:
    """Replace slow kernels of ONNX Runtime by equal ones (ResNet-20: 210 -> 245 images a second and core).

    ReluGrad runs unvectorised; the input gradient of a stride-1 convolution is itself a convolution, whose forward
    kernel is faster than the one inside ConvGrad, for a depthwise one as well.
    """
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in proto.graph.input}
    nodes = [new for node in proto.graph.node for new in _faster(node, shapes)]
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    constants = {"zero": 0.0, "one": 1.0, "large": 1e38}
    tensors = {f"pfir_{k}": np.array(v, np.float32) for k, v in constants.items()}
    integers = {"last": [-1, -1], "before_first": [-(2**31), -(2**31)], "spatial": [2, 3]}
    tensors |= {f"pfir_{k}": np.array(v, np.int64) for k, v in integers.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in tensors.items())


def _faster(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> list[onnx.NodeProto]:
    if node.op_type == "ReluGrad":
        gradient, x = node.input
        return _relu_gradient(gradient, x, node.output[0])
    if node.op_type == "ConvGrad" and node.output[0] and len(shapes.get(node.input[2], ())) == 4:
        return _conv_gradient(node, shapes[node.input[2]])
    return [node]


def _relu_gradient(gradient: str, x: str, output: str) -> list[onnx.NodeProto]:
    """gradient * clip(x * 1e38, 0, 1): the step function of x, for every x above 1e-38."""
    return [
        helper.make_node("Mul", [x, "pfir_large"], [f"{output}_large"], f"{output}_large"),
        helper.make_node("Clip", [f"{output}_large", "pfir_zero", "pfir_one"], [f"{output}_step"], f"{output}_step"),
        helper.make_node("Mul", [gradient, f"{output}_step"], [output], f"{output}_masked"),
    ]


def _conv_gradient(node: onnx.NodeProto, weight: tuple[int, ...]) -> list[onnx.NodeProto]:
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel, pads = weight[2:], list(attrs.get("pads", [0, 0, 0, 0]))
    dilations = list(attrs.get("dilations", [1, 1]))
    back = [d * (k - 1) - p for d, k, p in zip(dilations * 2, kernel * 2, pads, strict=True)]
    group = attrs.get("group", 1)
    moved = list(attrs.get("strides", [1, 1])) == [1, 1] and min(back) >= 0
    depthwise = group == weight[0] and weight[1] == 1
    if not moved or (group > 1 and not depthwise):
        return [node]
    gradient, _, name = node.input
    turned = name if depthwise else f"{node.output[0]}_turned"
    turns = [] if depthwise else [helper.make_node("Transpose", [name], [turned], turned, perm=[1, 0, 2, 3])]
    before = [*turns, *_flip(turned, f"{node.output[0]}_kernel")] if max(kernel) > 1 else turns
    flipped = before[-1].output[0] if before else name
    back_attrs = {"kernel_shape": kernel, "pads": back, "dilations": dilations, "group": group}
    output = node.output[0]
    conv = helper.make_node("Conv", [gradient, flipped], [output], f"{output}_conv", **back_attrs)
    node.output[0] = ""
    return [*before, conv, node]


def _flip(name: str, output: str) -> list[onnx.NodeProto]:
    """The kernel turned by half a circle."""
    inputs = [name, "pfir_last", "pfir_before_first", "pfir_spatial", "pfir_last"]
    return [helper.make_node("Slice", inputs, [output], f"{output}_flip")]
