"""Bias correction: the mean of each output channel of a quantized layer made that of the float one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.placement import layers_of

MOST_SAMPLES = 64
"""Means of output channels are taken over so many samples, and all positions of each."""


def correct_biases(
    model: Model, layers: Sequence[str], activations: Activations, quantized: Callable[[Model], Model]
) -> None:
    """Add to each bias what the mean output lost, in place, layer by layer.

    Layers come in the order of the nodes, so that each sees what the corrections before it left; one without a place
    for a bias stays as it is.

    Args:
        model: Float, but for its biases what was rounded.
        layers: Names of nodes.
        quantized: Makes a quantized copy of the model with the biases that it has now.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
    arXiv:1906.04721, section 4.2 and appendix D: empirical, on calibration data.
    """
    found = layers_of(model)
    chosen = [found[name] for name in layers if found[name].layer.operator.bias is not None]
    wanted = _means(model, chosen, activations)
    for layer in chosen:
        now = _means(quantized(model), [layer], activations)
        name = layer.node.name
        _add_to_bias(layer, wanted[name] - now[name])


def _add_to_bias(layer: EditableLayer, difference: np.ndarray) -> None:
    layer.scale_outputs(np.ones(1), difference)


def _means(model: Model, layers: Sequence[EditableLayer], activations: Activations) -> dict[str, np.ndarray]:
    """float64 [C]: the mean of each output channel, by name of the layer's node."""
    nodes = {node.name: node for node in model.nodes()}
    outputs = {layer.node.name: nodes[layer.node.name].outputs[0].name for layer in layers}
    sums, count = {name: np.zeros(layer.channels) for name, layer in zip(outputs, layers, strict=True)}, 0
    for batch in _some(model.until(list(outputs.values())), tuple(outputs.values()), activations):
        for layer in layers:
            y = batch[outputs[layer.node.name]]
            rest = tuple(i for i in range(y.ndim) if i != layer.axis)
            sums[layer.node.name] += y.mean(axis=rest, dtype=np.float64)
        count += 1
    return {name: total / count for name, total in sums.items()}


def _some(model: Model, names: Sequence[str], activations: Activations) -> Iterator[Mapping[str, np.ndarray]]:
    """The first batches of the calibration data, as many as hold MOST_SAMPLES."""
    seen = 0
    for batch in activations(model, names):
        yield batch
        seen += len(next(iter(batch.values())))
        if seen >= MOST_SAMPLES:
            return
