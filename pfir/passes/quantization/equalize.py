"""Cross-layer equalisation: channels scaled so that none is much smaller than those beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import is_op
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.channel_scales import ChannelScales, clip_bound
from pfir.passes.quantization.placement import layers_of

ROUNDS = 20
ENOUGH = 1e-2
"""Further rounds change no channel by more than this share."""
LARGEST_FACTOR = 1e3
"""A channel that is next to nothing on one side is not scaled without end."""
MARGIN = 1.1
"""How far above the greatest value that calibration showed a bound must lie after scaling."""
_TINY = 1e-30

POWERS = (0.5, 0.75, 1.0)
"""How much of an activation's unevenness a weight takes over: half, most or all of it; which is best differs."""

Greatest = Mapping[str, np.ndarray]
"""float64 [C] by name of a tensor: of each channel the greatest magnitude, in front of a Clip the greatest value."""


def equalize(
    model: Model, tensors: Sequence[str], activations: Activations, per_channel: bool = True, power: float = POWERS[0]
) -> int:
    """Scale channels in place until what makes and what reads each lies in equal ranges; how many changed.

    Rewrite of channel i, where r1 and r2 are the ranges on its two sides::

        W2 f(W1 x + b1)     ->      (W2 s) f(W1 / s x + b1 / s)     s = sqrt(r1 / r2)

    f is positively homogeneous, and may hold sums with channels of other layers, which are then scaled alike. r1 is the
    largest weight that makes the channel, r2 the largest that reads it. Where each output channel has a scale of its
    own, W1 is as good by any s: there s = r1^p / r2^(1 - p), r1 is the greatest value of the channel on the calibration
    data, as a share of that of its tensor, r2 is a share of the row of W2, and what a depthwise layer reads gets
    s = r1. A Clip from 0 upwards is homogeneous below its bound: channels are scaled as far as none reaches it that did
    not before. Outputs are the same up to float rounding.

    Args:
        tensors: Those that will have few bits, by name.
        per_channel: Whether each output channel of a weight has a scale of its own.
        power: p, in (0, 1], where it has.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
    arXiv:1906.04721, section 4.1; ours follows channels through residual sums, keeps a Clip rather than replacing it,
    and equalises activations with weights as Xiao et al., "SmoothQuant", ICML 2023, arXiv:2211.10438, section 4.
    """
    layers = layers_of(model)
    scales = ChannelScales(model, layers)
    clips = [node for node in model.nodes() if is_op(node, "Clip") and _is_scaled(scales, node.inputs[0].name)]
    greatest = _greatest(model, scales, tensors, clips, activations)
    total = np.ones(scales.free.size)
    for _ in range(1 if per_channel else ROUNDS):
        balanced = by_values(scales, layers, tensors, greatest, power) if per_channel else by_weights(scales, layers)
        wanted = _within_bounds(total * np.where(scales.free, balanced, 1.0), scales, clips, greatest)
        factors, total = wanted / total, wanted
        _apply(scales, layers, factors)
        if np.abs(factors - 1).max(initial=0) < ENOUGH:
            break
    return int((total != 1).sum())


def by_values(
    scales: ChannelScales,
    layers: Mapping[str, EditableLayer],
    tensors: Sequence[str],
    greatest: Greatest,
    power: float = POWERS[0],
) -> np.ndarray:
    """float64 [labels]: the factors that balance activations with the weights that read them."""
    made = np.zeros(scales.free.size)
    for name in tensors:
        if name in greatest:
            np.maximum.at(made, scales.labels[name], greatest[name] / max(greatest[name].max(), _TINY))
    read = _ranges(scales.free.size, scales.reads, layers, _share_by_input)
    against = np.where(read > 0, read ** (1 / power - 1), 1.0)
    return _factors(made, against, np.where(read > 0, power, 1.0))  # r1 itself where no row loses by it.


def by_weights(scales: ChannelScales, layers: Mapping[str, EditableLayer]) -> np.ndarray:
    """float64 [labels]: factors half of the way to equal ranges of the weights that make and that read each label.

    All labels move at once: whole steps would overshoot.
    """
    made = _ranges(scales.free.size, scales.makes, layers, _by_output)
    read = _ranges(scales.free.size, scales.reads, layers, _by_input)
    return _factors(made, read, 0.25)


def _is_scaled(scales: ChannelScales, name: str) -> bool:
    """Whether some channel of this tensor may have a factor."""
    return name in scales.labels and bool(scales.free[scales.labels[name]].any())


def _greatest(
    model: Model, scales: ChannelScales, tensors: Sequence[str], clips: Sequence[gs.Node], activations: Activations
) -> dict[str, np.ndarray]:
    bounded = {node.inputs[0].name for node in clips}
    names = [name for name in dict.fromkeys((*tensors, *bounded)) if _is_scaled(scales, name)]
    found = {name: np.zeros(len(scales.labels[name])) for name in names}
    for batch in activations(model, names) if names else ():
        for name in names:
            x = np.moveaxis(batch[name], 1, 0).reshape(len(found[name]), -1)
            found[name] = np.maximum(found[name], (x if name in bounded else np.abs(x)).max(axis=1))
    return found


def _ranges(
    count: int,
    sides: Mapping[str, np.ndarray],
    layers: Mapping[str, EditableLayer],
    range_of: Callable[[EditableLayer], np.ndarray],
) -> np.ndarray:
    """float64 [labels]: the largest of what layers say of their channels on one side."""
    found = np.zeros(count)
    for name, labels in sides.items():
        np.maximum.at(found, labels, range_of(layers[name]))
    return found


def _factors(made: np.ndarray, read: np.ndarray, power: float | np.ndarray) -> np.ndarray:
    """(made / read) ^ power, within bounds; 1 where nothing makes or reads."""
    there = (made > 0) & (read > 0)
    ratio = np.where(there, made / np.where(there, read, 1), 1.0)
    return np.clip(ratio**power, 1 / LARGEST_FACTOR, LARGEST_FACTOR)


def _within_bounds(
    factors: np.ndarray, scales: ChannelScales, clips: Sequence[gs.Node], greatest: Greatest
) -> np.ndarray:
    """The factors from the start on, changed so that a Clip bounds what it bounded before and nothing else.

    Behind a Clip with a bound no factor is above 1; a channel that reached it keeps its scale.
    """
    least = np.zeros(factors.size)
    for node in (node for node in clips if np.isfinite(clip_bound(node))):
        labels, top = scales.labels[node.inputs[0].name], greatest[node.inputs[0].name]
        factors[labels] /= factors[labels].max()
        np.maximum.at(least, labels, np.minimum(MARGIN * top / clip_bound(node), 1.0))
    return np.where(scales.free, np.maximum(factors, least), 1.0)


def _apply(scales: ChannelScales, layers: Mapping[str, EditableLayer], factors: np.ndarray) -> None:
    for name, labels in scales.reads.items():
        layer, read, made = layers[name], factors[labels], factors[scales.makes[name]]
        if (read != 1).any():
            layer.scale_inputs(read, np.zeros(read.size))
        if (made != 1).any():
            layer.scale_outputs(1 / made, np.zeros(made.size))


def _by_output(layer: EditableLayer) -> np.ndarray:
    """float64 [C]: the largest weight of each output channel."""
    return _blocks(layer).max(axis=(2, 3)).ravel()


def _by_input(layer: EditableLayer) -> np.ndarray:
    """float64 [C]: the largest weight that reads each input channel."""
    return _blocks(layer).max(axis=(1, 3)).ravel()


def _share_by_input(layer: EditableLayer) -> np.ndarray:
    """float64 [C]: the same as a share of the row; zeros of a depthwise layer, where it is always the whole row."""
    blocks = _blocks(layer)
    if blocks.shape[2] == 1:
        return np.zeros(blocks.shape[0])
    return (blocks / np.maximum(blocks.max(axis=(2, 3), keepdims=True), _TINY)).max(axis=(1, 3)).ravel()


def _blocks(layer: EditableLayer) -> np.ndarray:
    """float64 [G, O, I, taps]: magnitudes."""
    return np.abs(layer.layer.layout.blocks(layer.weight.astype(np.float64)))
