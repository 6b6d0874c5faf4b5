"""Bias correction: the mean of each output channel of a quantized layer made that of the float one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.output_error import some_samples
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.rounding.segments import opened, segments

MOST_SAMPLES = 64
"""Means of output channels are taken over so many samples, and all positions of each."""

Batch = Mapping[str, np.ndarray]


def correct_biases(
    model: Model, layers: Sequence[str], activations: Activations, quantized: Callable[[Model], Model]
) -> None:
    """Add to each bias what the mean output lost, in place, layer by layer.

    Layers come in the order of the nodes, so that each sees what the corrections before it left; one without a place
    for a bias stays as it is. What lies before a segment of the network is computed once: to begin at the inputs for
    each of the 51 layers of EfficientNet-Lite0 takes 26 times as long as the network does.

    Args:
        model: Float, but for its biases what was rounded; its shapes are inferred.
        layers: Names of nodes.
        quantized: Makes a quantized copy of the model with the biases that it has now.

    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
    arXiv:1906.04721, section 4.2 and appendix D: empirical, on calibration data.
    """
    found, reference = layers_of(model), model.clone()
    chosen = {name: found[name] for name in layers if found[name].layer.operator.bias is not None}
    given = _Values(tuple(some_samples(model, (), activations, MOST_SAMPLES)))
    ours = theirs = given
    for segment in segments(quantized(model), reference):
        inside = [chosen[name] for name in segment.nodes if name in chosen]
        wanted = theirs.means(reference, inside)
        for layer in inside:
            now = ours.means(quantized(model), [layer])
            _add_to_bias(layer, wanted[layer.node.name] - now[layer.node.name])
        if _is_by_sample(reference, segment.outputs):
            ours, theirs = ours.at(quantized(model), segment.outputs), theirs.at(reference, segment.outputs)


@dataclass(frozen=True, eq=False)
class _Values:
    """What some tensors of a model hold, from which all behind them can be computed.

    Args:
        batches: By name, samples along the first axis.
    """

    batches: tuple[Batch, ...]

    def at(self, model: Model, names: Sequence[str]) -> _Values:
        """The values of these tensors."""
        return _Values(tuple(self._computed(model, names)))

    def means(self, model: Model, layers: Sequence[EditableLayer]) -> dict[str, np.ndarray]:
        """float64 [C]: the mean of each output channel, by name of the layer's node."""
        nodes = {node.name: node for node in model.nodes()}
        outputs = {layer.node.name: nodes[layer.node.name].outputs[0].name for layer in layers}
        sums = {layer.node.name: np.zeros(layer.channels) for layer in layers}
        for batch in self._computed(model, [*outputs.values()]) if layers else ():
            for layer in layers:
                y = np.moveaxis(batch[outputs[layer.node.name]], layer.axis, 0)
                sums[layer.node.name] += y.reshape(len(y), -1).mean(axis=1, dtype=np.float64)
        return {name: total / len(self.batches) for name, total in sums.items()}

    def _computed(self, model: Model, names: Sequence[str]) -> Iterator[Batch]:
        session = opened(model, tuple(self.batches[0]), names)
        needed = [spec.name for spec in session.inputs]
        for batch in self.batches:
            yield session.predict({name: batch[name] for name in needed})


def _is_by_sample(model: Model, names: Sequence[str]) -> bool:
    """Whether these tensors have as many rows as the first input is known to have: those of the samples."""
    tensors, rows = model.graph.tensors(), next((t.shape[0] for t in model.graph.inputs if t.shape), None)
    return rows is not None and all(tensors[name].shape and tensors[name].shape[0] == rows for name in names)


def _add_to_bias(layer: EditableLayer, difference: np.ndarray) -> None:
    layer.scale_outputs(np.ones(1), difference)
