"""Cross-layer equalisation: channels of neighbouring layers scaled so that none is much smaller than the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, held, is_op, operand
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.placement import layers_of

HOMOGENEOUS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool", "PRelu", "Relu")
"""Operators that give s y, channel by channel, for s x where s is positive."""
ROUNDS = 20
ENOUGH = 1e-3
"""Further rounds change no channel by more than this share."""
LARGEST_FACTOR = 1e4
"""A channel that is next to nothing on one side is not scaled without end."""
MARGIN = 1.1
"""How far above the greatest value that calibration showed a bound must lie after scaling."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A layer and all that reads its channels.

    Args:
        before: Makes the channels.
        behind: Read them, behind nothing but homogeneous operators.
        bound: The upper bound of a Clip in between; infinite where there is none.
    """

    before: EditableLayer
    behind: tuple[EditableLayer, ...]
    bound: float = np.inf
    is_rectified: bool = False


def equalize(model: Model, activations: Activations, per_channel: bool = True) -> int:
    """Scale channels in place until both sides of each lie in equal ranges; how many pairs of layers that were.

    Rewrite of channel i, where r1 and r2 are the ranges on its two sides::

        W2 f(W1 x + b1)     ->      (W2 s) f(W1 / s x + b1 / s)     s = sqrt(r1 / r2)

    r1 is the largest weight that makes it, r2 the largest that reads it. Where each output channel has a scale of its
    own, W1 is as good by any s: there r1 is the largest value of the channel on the calibration data, and a depthwise
    layer takes all of it. f is positively homogeneous; a Clip from 0 upwards is so below its bound, and channels are
    scaled as far as none reaches it that did not before. Outputs are the same up to float rounding.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
    arXiv:1906.04721, section 4.1; ours keeps a Clip rather than replacing it, and equalises activations with weights as
    in Xiao et al., "SmoothQuant", ICML 2023, arXiv:2211.10438, section 4.
    """
    pairs = neighbours(model)
    greatest = _greatest(model, pairs, activations)
    for _ in range(ROUNDS if pairs else 0):
        if max(_balance(pair, greatest, per_channel) for pair in pairs) < ENOUGH:
            break
    return len(pairs)


def neighbours(model: Model) -> list[Neighbours]:
    """Every layer all of whose readers are layers again, in the order of the nodes."""
    layers, holding = layers_of(model), held(model.graph)
    found = (_neighbours(layer, layers, holding) for layer in layers.values())
    return [pair for pair in found if pair is not None]


def _neighbours(layer: EditableLayer, layers: Mapping[str, EditableLayer], holding: set[str]) -> Neighbours | None:
    tensor, bound, rectified = layer.node.outputs[0], np.inf, False
    while True:
        if tensor.name in holding or not tensor.outputs:
            return None
        node = tensor.outputs[0]
        if len(tensor.outputs) > 1 or node.name in layers or node.inputs[0] is not tensor:
            break
        if is_op(node, "Clip") and np.isinf(bound):
            bound = _upper_bound(node)
        elif not is_op(node, *HOMOGENEOUS) or len(node.outputs) > 1:
            return None
        if np.isnan(bound):
            return None
        rectified = rectified or is_op(node, "Relu", "Clip")
        tensor = node.outputs[0]
    behind = [layers.get(node.name) for node in tensor.outputs]
    if any(other is None or not _reads_channels(other, tensor, layer) for other in behind):
        return None
    return Neighbours(layer, tuple(other for other in behind if other is not None), bound, rectified)


def _upper_bound(node: gs.Node) -> float:
    """The bound of a Clip from 0 upwards; NaN of any other."""
    low, high = (operand(node, i) for i in (1, 2))
    least = node.attrs.get("min") if low is None else array(low)
    most = node.attrs.get("max") if high is None else array(high)
    if least is None or most is None or float(np.ravel(least)[0]) != 0:
        return np.nan
    return float(np.ravel(most)[0])


def _reads_channels(layer: EditableLayer, tensor: gs.Tensor, before: EditableLayer) -> bool:
    """Whether each input channel of this layer is one output channel of that one."""
    plain = layer.layer
    if plain.data is not tensor or plain.is_transposed or plain.turns_data:
        return False
    if not plain.is_convolution and layer.rank != 2:
        return False
    axis = plain.data_axis % layer.rank
    return before.axis == axis and plain.layout.inputs(layer.weight.shape) == before.channels


def _greatest(model: Model, pairs: list[Neighbours], activations: Activations) -> dict[str, np.ndarray]:
    """float64 [2, C]: the greatest value and magnitude of each channel, by name of the layer that makes it."""
    found = {p.before.node.name: np.zeros((2, p.before.channels)) for p in pairs}
    names = {p.before.node.name: p.before.node.outputs[0].name for p in pairs}
    for batch in activations(model, tuple(names.values())) if pairs else ():
        for pair in pairs:
            name = pair.before.node.name
            x = np.moveaxis(batch[names[name]], pair.before.axis, 0).reshape(pair.before.channels, -1)
            y = np.maximum(x, 0) if pair.is_rectified else np.abs(x)
            found[name] = np.maximum(found[name], [x.max(axis=1), y.max(axis=1)])
    return found


def _balance(pair: Neighbours, greatest: dict[str, np.ndarray], per_channel: bool) -> float:
    """Scale the channels between these layers in place; by how much the one that moved most did."""
    top, size = greatest[pair.before.node.name]
    made = np.minimum(size, pair.bound) if per_channel else _by_output(pair.before)
    read = np.max([_by_input(layer, per_channel) for layer in pair.behind], axis=0)
    there = (made > 0) & (read > 0)
    factor = np.ones(made.size)
    if there.any():
        factor[there] = np.sqrt(made[there] / read[there])
        factor[there] /= np.exp(np.log(factor[there]).mean()) if np.isinf(pair.bound) else factor[there].max()
    factor = np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR)
    if np.isfinite(pair.bound):
        factor = _below_bound(factor, top, pair.bound)
    zero = np.zeros(made.size)
    if not pair.before.scale_outputs(1 / factor, zero):
        return 0.0
    for layer in pair.behind:
        layer.scale_inputs(factor, zero)
    greatest[pair.before.node.name] = greatest[pair.before.node.name] / factor
    return float(np.abs(factor - 1).max(initial=0))


def _below_bound(factor: np.ndarray, greatest: np.ndarray, bound: float) -> np.ndarray:
    """Factors by which no channel reaches a bound that it did not reach before; one that did stays."""
    least = MARGIN * np.maximum(greatest, 0) / bound
    return np.where(greatest < bound, np.maximum(factor, np.minimum(least, 1)), 1.0)


def _by_output(layer: EditableLayer) -> np.ndarray:
    """float64 [C]: the largest weight of each output channel."""
    return np.abs(layer.layer.layout.blocks(layer.weight.astype(np.float64))).max(axis=(2, 3)).ravel()


def _by_input(layer: EditableLayer, per_channel: bool) -> np.ndarray:
    """float64 [C]: the largest weight that reads each input channel; of a depthwise layer ones where scales differ."""
    blocks = np.abs(layer.layer.layout.blocks(layer.weight.astype(np.float64)))
    read = blocks.max(axis=(1, 3)).ravel()
    return np.where(read > 0, 1.0, 0.0) if per_channel and blocks.shape[2] == 1 else read
