"""A node that contracts over channels, as linear algebra: its weight as a matrix, its input as rows of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.groups import Slice
from pfir.ir.linear import Layout, LinearLayer, plain_layer
from pfir.ir.windows import Windows

MAX_FEATURES = 2304  # 256 channels of 3x3 windows; beyond it a Gram matrix costs more than it brings.


@dataclass(frozen=True)
class ConsumerMatrix:
    """The layer y = W x for every window x: W is [G, O, F], a feature is (channel, tap), the tap running fastest.

    Args:
        node: The node's name.
        tensor: The initializer that holds the weight.
        data: The activation that it contracts.
        layout: How the weight lies in memory.
        channels: Input channels of one group.
        axis: The axis of `data` that holds the channels, from the end for products.
        output_axis: Where the output's channels lie, likewise.
        window: Whether a row is a whole window; otherwise a row is one position, and each tap is an output of its own.
        windows: Where a convolution looks; of a product it has no axes.
        bias: The initializer that is added to the outputs, if it is theirs alone.
        bias_scale: What y is multiplied by before that initializer is added, over the factor of the initializer.
        added: Whether an Add behind the node adds it.
    """

    node: str
    tensor: str
    data: str
    layout: Layout
    channels: int
    axis: int
    output_axis: int
    window: bool = True
    windows: Windows = Windows()
    bias: str | None = None
    bias_scale: float = 1.0
    added: bool = False

    @property
    def groups(self) -> int:
        return self.layout.groups

    @property
    def taps(self) -> int:
        """How many features a channel has: the kernel's size, or 1 where taps count as outputs."""
        return self.windows.taps if self.window else 1

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """The weight as float64 [G, O, F]."""
        blocks = self.layout.blocks(weight.astype(np.float64))
        groups, outputs, inputs, taps = blocks.shape
        if self.window:
            return blocks.reshape(groups, outputs, inputs * taps)
        return blocks.swapaxes(2, 3).reshape(groups, outputs * taps, inputs)

    def weight(self, matrix: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The inverse of `matrix`, in the shape and type of the weight `like`."""
        groups, taps = self.groups, self.windows.taps
        if self.window:
            blocks = matrix.reshape(groups, matrix.shape[1], self.channels, taps)
        else:
            blocks = matrix.reshape(groups, -1, taps, self.channels).swapaxes(2, 3)
        return self.layout.weight(blocks, like.shape).astype(like.dtype)

    def features(self, positions: np.ndarray) -> np.ndarray:
        """The feature indices of these positions of the contracted axis."""
        return (np.asarray(positions).reshape(-1, 1) * self.taps + np.arange(self.taps)).ravel()

    def places(self, shape: tuple[int, ...]) -> int:
        """How many rows one sample of an activation of this shape gives."""
        if not self._looks_around:
            return math.prod(shape[1:]) // shape[self.axis] if len(shape) > 1 else 1
        return math.prod(self.windows.grid(shape[2:]) if self.window else shape[2:])

    def rows(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The rows of an activation at these places of every sample: [G, N * len(places), F]."""
        if not self._looks_around:
            x = x if x.ndim > 1 else x[None]
            rows = np.moveaxis(x, self.axis, -1).reshape(x.shape[0], -1, x.shape[self.axis])[:, places]
            return rows.reshape(1, -1, x.shape[self.axis])
        return self._windows(x, places) if self.window else self._positions(x, places)

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """The sums over what adds up to one output channel: [G, O, ...] or [G, O * taps, ...] -> [all outputs, ...]."""
        if self.window:
            return matrix.reshape(-1, *matrix.shape[2:])
        return matrix.reshape(-1, self.windows.taps, *matrix.shape[2:]).sum(1)

    @property
    def _looks_around(self) -> bool:
        return bool(self.windows.kernel)

    def _positions(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        rows = x.reshape(*x.shape[:2], -1)[:, :, places].swapaxes(1, 2)
        return rows.reshape(-1, self.groups, self.channels).swapaxes(0, 1)

    def _windows(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        windows = self.windows.of(x)
        chosen = np.unravel_index(places, windows.shape[2 : x.ndim])
        picked = np.moveaxis(windows[(slice(None), slice(None), *chosen)], 2, 1)  # [N, P, C, *k]
        return picked.reshape(-1, self.groups, self.channels * self.taps).swapaxes(0, 1)


def contraction(node: gs.Node, part: Slice) -> ConsumerMatrix | None:
    """How this node contracts over the axis of a consuming slice; None where it is not of a form known here."""
    layer = plain_layer(node)
    if layer is None or part.shared_axes or not _reads(layer, part):
        return None
    return _convolution(layer) if layer.is_convolution else _product(layer)


def _reads(layer: LinearLayer, part: Slice) -> bool:
    """Whether the slice is what the layer sums over: the input channels of its weight, an array of the usual rank."""
    weight = layer.weight
    if not isinstance(weight, gs.Constant) or weight.name != part.tensor or part.axis != layer.input_axis:
        return False
    if layer.is_convolution:
        return weight.values.ndim > 2 and (layer.layout.groups == 1 or not layer.is_transposed)
    return weight.values.ndim == 2 and not layer.turns_data


def _convolution(layer: LinearLayer) -> ConsumerMatrix:
    shape = layer.weight.values.shape
    windows, channels = layer.windows(shape[2:]), shape[layer.input_axis]
    window = not layer.is_transposed and channels * windows.taps <= MAX_FEATURES
    return _matrix(layer, channels, window=window, windows=windows, **own_bias(layer))


def _product(layer: LinearLayer) -> ConsumerMatrix:
    return _matrix(layer, layer.weight.values.shape[layer.input_axis], **own_bias(layer))


def own_bias(layer: LinearLayer) -> dict:
    """The bias that a layer of constant weights may change for itself alone, as fields of ConsumerMatrix."""
    # Which taps of a transposed one meet in an output differs from place to place, so no bias can hold the mean.
    if layer.is_transposed or layer.place != layer.operator.weight.place:
        return {}
    return _bias(layer) if layer.operator.bias is not None else _added(layer)


def _matrix(layer: LinearLayer, channels: int, **known) -> ConsumerMatrix:
    names = layer.node.name, layer.weight.name, layer.data.name
    return ConsumerMatrix(*names, layer.layout, channels, layer.data_axis, layer.result_axis, **known)


def _bias(layer: LinearLayer) -> dict:
    """The node's own bias, if it may be changed: one number for each output, and nobody else's."""
    if layer.bias is None or not layer.bias_factor or not _own(layer.bias, layer):
        return {}
    return {"bias": layer.bias.name, "bias_scale": layer.factor / layer.bias_factor}


def _added(layer: LinearLayer) -> dict:
    """The constant that an Add puts onto the output of a product, if nobody else sees either."""
    result = layer.node.outputs[0]
    readers = result.outputs
    if len(readers) != 1 or readers[0].op != "Add":
        return {}
    other = next((t for t in readers[0].inputs if t is not result), None)
    if other is None or not _own(other, layer) or other.values.shape[-1] != other.values.size:
        return {}
    return {"bias": other.name, "added": True}


def _own(tensor: gs.Tensor, layer: LinearLayer) -> bool:
    size = layer.layout.outputs(layer.weight.values.shape)
    return isinstance(tensor, gs.Constant) and tensor.values.size == size and len(tensor.outputs) == 1


def result_of(node: gs.Node, layer: ConsumerMatrix) -> gs.Tensor:
    """What the node gives once its bias is added."""
    return node.outputs[0].outputs[0].outputs[0] if layer.added else node.outputs[0]


def some(count: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `wanted` of `count` places, at random."""
    return np.arange(count) if count <= wanted else rng.choice(count, wanted, replace=False)
