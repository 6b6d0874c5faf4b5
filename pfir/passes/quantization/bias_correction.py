"""Bias correction: the mean of each output channel of a quantized layer made that of the float one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.output_error import some_samples
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
    sums, count = {layer.node.name: np.zeros(layer.channels) for layer in layers}, 0
    for batch in some_samples(model.until([*outputs.values()]), [*outputs.values()], activations, MOST_SAMPLES):
        for layer in layers:
            y = np.moveaxis(batch[outputs[layer.node.name]], layer.axis, 0)
            sums[layer.node.name] += y.reshape(len(y), -1).mean(axis=1, dtype=np.float64)
        count += 1
    return {name: total / count for name, total in sums.items()}
