"""What a linear layer must give, computed with numpy from its description alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

from pfir.ir.edit import operand
from pfir.ir.linear import LinearLayer
from pfir.ir.model import Model
from pfir.ir.operators.records import Integers
from pfir.run.activations import expose

Values = Mapping[str, np.ndarray]
"""The value of each tensor by name."""


def values_of(model: Model, feeds: Values) -> dict[str, np.ndarray]:
    """Every tensor of the main graph in one run by ONNX Runtime, constants and inputs included."""
    copy = model.clone()
    made = {t.name: t for n in copy.graph.nodes for t in n.outputs if t.name}
    expose(copy.graph, list(made.values()))
    constants = {name: np.asarray(tensor.values) for name, tensor in copy.initializers().items()}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # Each node is to compute its own.
    session = ort.InferenceSession(copy.to_proto().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return constants | dict(feeds) | dict(zip(made, session.run(list(made), dict(feeds)), strict=True))


def forward(layer: LinearLayer, values: Values) -> np.ndarray:
    """a (W x) + c b in float64, whatever integers x, W and b are given as."""
    weight = meant(layer, layer.place, values)
    result = layer.factor * products(layer, weight, meant(layer, layer.data_place, values))
    if layer.bias is None:
        return result
    return result + layer.bias_factor * _bias(layer, values, result.ndim)


def products(layer: LinearLayer, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """W x, the channels of y where the layer says that they are."""
    if layer.is_transposed:
        return _scattered(layer, weight, x)
    if layer.is_convolution:
        windows = layer.windows(weight.shape[2:]).of(x)  # [N, C, *grid, *kernel]
        rank, (batch, _, *grid) = x.ndim - 2, windows.shape[: x.ndim]
        features = windows.reshape(batch, layer.layout.groups, -1, *grid, layer.windows(weight.shape[2:]).taps)
        features = features.reshape(*features.shape[:3], -1, features.shape[-1])
        y = np.einsum("goit,ngipt->ngop", layer.layout.blocks(weight), features)
        return y.reshape(batch, -1, *windows.shape[2 : 2 + rank])
    matrix = layer.layout.blocks(weight)[0, :, :, 0]
    moved = np.moveaxis(x if x.ndim > 1 else x[None], layer.data_axis, -1)
    y = np.moveaxis(moved @ matrix.T, -1, layer.result_axis)
    return y if x.ndim > 1 else y[0]


def _scattered(layer: LinearLayer, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Each position of x adds a window to y; what pads tell is cut off around it."""
    windows, blocks = layer.windows(weight.shape[2:]), layer.layout.blocks(weight)
    groups, outputs, inputs, _ = blocks.shape
    split = x.reshape(x.shape[0], groups, inputs, *x.shape[2:])
    extra = layer.node.attrs.get("output_padding") or [0] * (x.ndim - 2)
    reach = [d * (k - 1) + 1 for d, k in zip(windows.dilations, windows.kernel, strict=True)]
    full = [s * (n - 1) + r + e for n, s, r, e in zip(x.shape[2:], windows.strides, reach, extra, strict=True)]
    y = np.zeros((x.shape[0], groups, outputs, *full))
    for at, tap in enumerate(np.ndindex(*windows.kernel)):
        steps = zip(tap, windows.dilations, windows.strides, x.shape[2:], strict=True)
        place = tuple(slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in steps)
        y[(slice(None), slice(None), slice(None), *place)] += np.einsum("goi,ngi...->ngo...", blocks[..., at], split)
    ends = [(b, n - e) for (b, e), n in zip(windows.padding(x.shape[2:]), full, strict=True)]
    y = y.reshape(x.shape[0], groups * outputs, *full)
    return y[(slice(None), slice(None), *(slice(*end) for end in ends))]


def meant(layer: LinearLayer, place: int, values: Values) -> np.ndarray:
    """What an input stands for, float64."""
    array = values[layer.node.inputs[place].name]
    said = layer.operator.integers.get(place)
    if said is None or array.dtype.kind == "f":
        return array.astype(np.float64)
    axis = layer.output_axis if array.ndim > 1 and place == layer.place else -1
    return told(layer.node, said, array, axis, values)


def told(node: gs.Node, said: Integers, array: np.ndarray, axis: int, values: Values) -> np.ndarray:
    """scale * (integer - zero point), vectors of them along an axis; in steps where there is no scale."""

    def vector(place: int | None, default: float) -> np.ndarray:
        tensor = None if place is None else operand(node, place)
        found = np.asarray(default if tensor is None else values[tensor.name], np.float64).ravel()
        return found.reshape([-1 if i == axis % array.ndim else 1 for i in range(array.ndim)]) if array.ndim else found

    return (array - vector(said.zero_point, 0)) * vector(said.scale, 1)


def _bias(layer: LinearLayer, values: Values, rank: int) -> np.ndarray:
    """The bias, broadcast as the operator does; of integers each is worth a step of both scales."""
    bias = values[layer.bias.name].astype(np.float64)
    if bias.ndim == 1 and layer.is_convolution:
        bias = bias.reshape(1, -1, *[1] * (rank - 2))
    if values[layer.bias.name].dtype.kind == "i":
        steps = [
            values[operand(layer.node, layer.operator.integers[i].scale).name].astype(np.float64)
            for i in (layer.data_place, layer.place)
        ]
        step = steps[0].ravel() * steps[1].ravel()
        bias = bias * (step.reshape(1, -1, *[1] * (rank - 2)) if layer.is_convolution else step)
    return bias
