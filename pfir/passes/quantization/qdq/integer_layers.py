"""The layers of a Q/DQ model whose weights are integers: where weights and biases lie, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.edit import array, is_op, producer
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.ir.weights import zero_of

Bits = int | Mapping[str, int]
"""The bits of all weights, or of those of each layer by name of its node."""


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
            yield IntegerLayer(layer, integers.name, scales.name, _scale(step, len(shape)), own_bias(layer, shape))


def own_bias(layer: LinearLayer, shape: tuple[int, ...]) -> IntegerBias | None:
    """The bias of a layer with a weight of this shape, integers or floats; None where none is the layer's alone."""
    tensor = layer.bias
    if tensor is None:
        return None
    step, scales, scale = producer(tensor), None, np.ones(())
    if step is not None:
        if not _is_symmetric(step):
            return None
        tensor, scales = step.inputs[0], step.inputs[1].name
        scale = np.asarray(step.inputs[1].values, np.float64)
    own = isinstance(tensor, gs.Constant) and len(tensor.outputs) == 1
    whole = own and tensor.values.size == layer.layout.outputs(shape) and bool(layer.bias_factor)
    return IntegerBias(tensor.name, scales, scale, layer.bias_factor) if whole else None


def bits_of(node: str, bits: Bits) -> int:
    """The bits of the weight of a layer."""
    return bits if isinstance(bits, int) else bits[node]


def largest_integer(weight_bits: int) -> int:
    """The largest integer that a symmetric weight of so many bits may be.

    Raises:
        UsageError: weight_bits is out of its range.
    """
    if not 2 <= weight_bits <= 8:
        raise UsageError(f"weight_bits is {weight_bits}; it must be 2 to 8")
    return int(2 ** (weight_bits - 1) - 1)


def fitting_biases(model: Model, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Biases in steps of the scales that the model has now, scale_x scale_w: integers and scales by initializer.

    Args:
        values: By bias initializer, what it shall stand for, [O]; biases that it lacks are left out, and so are those
            that stand for it already.
    """
    arrays, held = {}, model.initializers()
    for found in integer_layers(model):
        bias = found.bias
        if bias is None or bias.tensor not in values:
            continue
        like, wanted = held[bias.tensor].values, values[bias.tensor]
        fitting = _fitting(bias, found, held)
        if fitting is bias and np.array_equal(wanted, bias.values(like)):
            continue
        arrays[bias.tensor] = fitting.stored(wanted, like)
        if bias.scales is not None:
            shape = held[bias.scales].values.shape
            arrays[bias.scales] = fitting.scale.astype(np.float32).reshape(shape)
    return arrays


def _fitting(bias: IntegerBias, layer: IntegerLayer, held: Mapping[str, gs.Constant]) -> IntegerBias:
    """The bias in steps of both scales' product; itself where it counts in these already, or is one of floats."""
    data_scale = layer.data_scale
    if bias.scales is None or data_scale is None:
        return bias
    now = held[bias.scales].values
    scale = np.broadcast_to((np.ravel(layer.scale) * np.float32(data_scale)), now.size).astype(np.float32)
    same = np.array_equal(scale, np.ravel(now))
    return bias if same else replace(bias, scale=scale.astype(np.float64))


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
