"""Bits for every layer, so many on average, where they are worth most by what the outputs lose on samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.bits.programme import Budget, ByLayer, best_bits
from pfir.passes.quantization.output_error import OutputError

Rounded = Callable[[str, int], np.ndarray]
"""The weight of a layer, by name of its node, as so many bits hold it: floats of the weight's shape."""


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers of a float model whose bits are to be chosen.

    Args:
        model: The float model.
        layers: By name of the node.
        importance: What the squared error of each weight counts, likewise.
        rounded: Gives weights of few bits.
        choices: The numbers of bits that a layer may have.
    """

    model: Model
    layers: Mapping[str, EditableLayer]
    importance: Mapping[str, np.ndarray]
    rounded: Rounded
    choices: Sequence[int]


def bits_on_average(given: Layers, average: float, activations: Activations) -> dict[str, int]:
    """Bits by name of the layer's node, on average over all weights at most so many.

    What each layer loses is measured with it alone rounded, to about the average; by other bits it loses so much more
    or less as its weights do. Where the outputs lose no less by the choice than by the same bits everywhere, that is
    what it gives.

    Args:
        average: Within the range of `given.choices`.
        activations: Runs a model on samples.

    Raises:
        Infeasible: The average is below the fewest bits.
    """
    error, usual = OutputError(given.model, activations), usual_bits(given.choices, average)
    found = best_bits(layer_losses(given, usual, error), [average_budget(given.layers, given.choices, average)])
    same = dict.fromkeys(found, usual)
    if usual == average and error.of(_rounded(given, found)) >= error.of(_rounded(given, same)):
        return same
    return found


def usual_bits(choices: Sequence[int], average: float) -> int:
    """The most bits of all layers alike that are within an average, or the fewest that there are."""
    return max((bits for bits in choices if bits <= average), default=min(choices))


def average_budget(layers: Mapping[str, EditableLayer], choices: Sequence[int], average: float) -> Budget:
    """The budget of so many bits on average over the weights of all layers."""
    total = sum(layer.weight.size for layer in layers.values())
    prices = {n: {bits: bits * layer.weight.size / total for bits in choices} for n, layer in layers.items()}
    return Budget(prices, average, "the average of bits")


def layer_losses(given: Layers, usual: int, error: OutputError) -> ByLayer:
    """What the outputs lose by the bits of each layer alone: measured at the usual ones, scaled to the others."""
    found = {}
    for name in given.layers:
        local = weight_losses(given, name)
        alone = error.of(_rounded(given, {name: usual})) if local[usual] else 0.0
        found[name] = {bits: alone * loss / local[usual] if local[usual] else loss for bits, loss in local.items()}
    return found


def weight_losses(given: Layers, name: str) -> dict[int, float]:
    """The squared error of a layer's weights by the bits they have, each weight by what it counts."""
    return {bits: _local_error(given, name, bits) for bits in given.choices}


def _local_error(given: Layers, name: str, bits: int) -> float:
    """The squared error of the weights, by what they count."""
    gap = np.square(given.rounded(name, bits).astype(np.float64) - given.layers[name].weight)
    return float(np.sum(gap * given.importance[name]))


def _rounded(given: Layers, bits: Mapping[str, int]) -> Model:
    """The model with these layers rounded."""
    model = given.model.clone()
    model.set_arrays({given.layers[name].layer.weight.name: given.rounded(name, n) for name, n in bits.items()})
    return model
