"""The layers of a Q/DQ model whose weights are integers: where weights and biases lie, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, producer
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.ir.weights import zero_of


@dataclass(frozen=True, eq=False)
class IntegerBias:
    """A bias that is a layer's alone.

    Args:
        tensor: The initializer.
        scales: The initializer of its scale; None of a bias of floats.
        scale: A number for each output channel, or one for all, float64; 1 of a bias of floats.
        factor: What the layer multiplies the bias by.
    """

    tensor: str
    scales: str | None
    scale: np.ndarray
    factor: float

    def values(self, held: np.ndarray) -> np.ndarray:
        """What these values of the initializer stand for, float32 [O], before the factor."""
        return np.ravel(held * self.scale).astype(np.float32)

    def stored(self, values: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The inverse of `values`, in the shape and type of the initializer `like`."""
        steps = values.astype(np.float64) / np.ravel(self.scale)
        if self.scales is not None:
            limits = np.iinfo(like.dtype)
            steps = np.clip(np.rint(steps), limits.min, limits.max)
        return steps.reshape(like.shape).astype(like.dtype)


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """A layer whose weight is an integer initializer times a scale, alone read by the layer, with zero for zero.

    Args:
        layer: The node as a linear layer; its weight is what a DequantizeLinear writes.
        integers: The initializer of the integers.
        scales: The initializer of their scale.
        scale: float32, broadcasts to the weight.
        bias: None where there is none, or where it is not the layer's alone.
    """

    layer: LinearLayer
    integers: str
    scales: str
    scale: np.ndarray
    bias: IntegerBias | None

    @property
    def node(self) -> str:
        """The name of the node."""
        return str(self.layer.node.name)

    @property
    def data_scale(self) -> np.ndarray | None:
        """The scale of the activation that it multiplies; None where that is not dequantized right before."""
        step = producer(self.layer.data)
        return array(step.inputs[1]) if step is not None and is_op(step, "DequantizeLinear") else None


def integer_layers(model: Model) -> Iterator[IntegerLayer]:
    """Those of the main graph, in order."""
    for node in model.nodes():
        layer = plain_layer(node)
        step = None if layer is None else producer(layer.weight)
        if layer is not None and step is not None and _is_symmetric(step):
            integers, scales = step.inputs[:2]
            shape = tuple(integers.values.shape)
            yield IntegerLayer(layer, integers.name, scales.name, _scale(step, len(shape)), _bias(layer, shape))


def fitting_biases(model: Model, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Biases in steps of the scales that the model has now, scale_x scale_w: integers and scales by initializer.

    Args:
        values: By bias initializer, what it shall stand for, [O]; biases that it lacks are left out.
    """
    arrays, held = {}, model.initializers()
    for found in integer_layers(model):
        bias, data_scale = found.bias, found.data_scale
        if bias is None or bias.tensor not in values:
            continue
        if bias.scales is not None and data_scale is not None:
            like = held[bias.scales].values
            scale = np.broadcast_to(np.ravel(found.scale) * data_scale, like.shape).astype(like.dtype)
            bias = IntegerBias(bias.tensor, bias.scales, scale.astype(np.float64), bias.factor)
            arrays[bias.scales] = scale
        arrays[bias.tensor] = bias.stored(values[bias.tensor], held[bias.tensor].values)
    return arrays


def _is_symmetric(step: gs.Node) -> bool:
    """Whether the node makes floats of integers that nothing else reads, whose zero is zero."""
    if not is_op(step, "DequantizeLinear") or any(not isinstance(t, gs.Constant) for t in step.inputs):
        return False
    integers = step.inputs[0]
    alone = len(integers.outputs) == 1 and len(step.outputs[0].outputs) == 1
    zero = zero_of(step, 0, tuple(integers.values.shape))
    return alone and zero is not None and not zero.any()


def _scale(step: gs.Node, rank: int) -> np.ndarray:
    scale = np.asarray(step.inputs[1].values, np.float32)
    shape = [1] * rank
    if scale.size > 1:
        shape[step.attrs.get("axis", 1)] = -1
    return scale.reshape(shape)


def _bias(layer: LinearLayer, shape: tuple[int, ...]) -> IntegerBias | None:
    tensor, scales, scale = layer.bias, None, np.ones(())
    step = None if tensor is None else producer(tensor)
    if step is not None:
        if not _is_symmetric(step):
            return None
        tensor, scales = step.inputs[0], step.inputs[1].name
        scale = np.asarray(step.inputs[1].values, np.float64)
    own = isinstance(tensor, gs.Constant) and len(tensor.outputs) == 1
    whole = own and tensor.values.size == layer.layout.outputs(shape) and bool(layer.bias_factor)
    return IntegerBias(tensor.name, scales, scale, layer.bias_factor) if whole else None
