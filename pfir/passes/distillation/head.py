"""The head of a classifier: the linear layer behind its last pooling, and the features that are pooled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, producer
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model

_MOVES = ("Reshape", "Flatten", "Squeeze", "Identity", "Dropout")
_POOLS = ("GlobalAveragePool", "AveragePool", "ReduceMean")


@dataclass(frozen=True)
class Head:
    """What follows the features of a classifier.

    Args:
        features: Name of the tensor [N, C, *k] that is pooled.
        layer: The linear layer behind the pooling, which reads one number for each of the C channels.
        bias: Name of the constant that is added to it; None without one.
    """

    features: str
    layer: LinearLayer
    bias: str | None

    @property
    def weight(self) -> str:
        """Name of the constant that holds the weights."""
        return str(self.layer.weight.name)

    @property
    def channels(self) -> int:
        """C."""
        return self.layer.layout.inputs(self.layer.weight.shape)

    def matrix(self) -> np.ndarray:
        """The weights, float64 [K, C]."""
        blocks = self.layer.layout.blocks(self.layer.weight.values.astype(np.float64))
        return blocks[0, :, :, 0]

    def laid_out(self, matrix: np.ndarray) -> np.ndarray:
        """The weights [K, C] as they lie in memory."""
        shape, dtype = self.layer.weight.shape, self.layer.weight.dtype
        return self.layer.layout.weight(matrix[None, :, :, None], tuple(shape)).astype(dtype)


def head_of(model: Model) -> Head | None:
    """The head of a classifier; None where something else than a linear layer behind a mean gives its scores."""
    if len(model.graph.outputs) != 1:
        return None
    node, bias = producer(model.graph.outputs[0]), None
    if node is not None and is_op(node, "Softmax"):
        node = producer(node.inputs[0])
    if node is not None and is_op(node, "Add"):
        constants = [t for t in node.inputs if isinstance(t, gs.Constant)]
        node = next((producer(t) for t in node.inputs if not isinstance(t, gs.Constant)), None)
        bias = constants[0].name if len(constants) == 1 else None
    layer = None if node is None else plain_layer(node)
    if layer is None or array(layer.weight) is None or layer.layout.groups != 1 or layer.turns_data:
        return None
    pool = _pool(layer.data)
    if pool is None or layer.layout.inputs(layer.weight.shape) != _channels(pool):
        return None
    return Head(pool.inputs[0].name, layer, layer.bias.name if layer.bias is not None else bias)


def _pool(tensor: gs.Tensor) -> gs.Node | None:
    """The pooling that this tensor is the result of."""
    node = producer(tensor)
    while node is not None and is_op(node, *_MOVES):
        node = producer(node.inputs[0])
    return node if node is not None and is_op(node, *_POOLS) else None


def _channels(pool: gs.Node) -> int | None:
    """Channels of what is pooled, where the pool leaves one number for each; None where more are left, or unknown."""
    shape, left = pool.inputs[0].shape, pool.outputs[0].shape
    if shape is None or len(shape) != 4 or left is None or any(d != 1 for d in left[2:]):
        return None
    return shape[1] if isinstance(shape[1], int) else None
