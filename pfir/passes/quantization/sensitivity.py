"""Sensitivity of layers: what each costs the outputs when it alone is quantized, and which should stay in float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from pfir.ir.costs.model_cost import known_sizes
from pfir.ir.costs.symbolic_cost import mac_terms
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.quantization.output_error import OutputError
from pfir.passes.quantization.placement import layers_of

_ROUNDED = 1e-9
"""Below any layer's share."""


def sensitivities(
    layers: Sequence[str], error: OutputError, quantized_alone: Callable[[str], Model]
) -> dict[str, float]:
    """The relative squared error of the outputs with one layer quantized, its weights and its input, by name."""
    return {name: error.of(quantized_alone(name)) for name in layers}


def most_sensitive(
    model: Model, found: Mapping[str, float], count: int, input_shapes: Mapping[str, Sequence[int]]
) -> tuple[str, ...]:
    """The layers that lose most by being quantized for what they cost in float, at most `count` of them.

    A layer costs its share of the multiply-accumulates, and as much again as an average layer for the change between
    integers and floats.

    Args:
        input_shapes: Sizes that the model does not tell, as in `Context`.
    """
    macs = _macs(model, input_shapes)
    total = sum(macs[name] for name in found)
    worth = {name: loss / (macs[name] / max(total, 1) + 1 / len(found)) for name, loss in found.items()}
    return tuple(sorted(found, key=lambda name: -worth[name])[:count])


def within_share(
    model: Model, found: Mapping[str, float], share: float, input_shapes: Mapping[str, Sequence[int]]
) -> tuple[str, ...]:
    """The layers that lose most by being quantized for what they cost in float, until they cost this share.

    What layers cost is their share of the multiply-accumulates, and of the weights, which are four times as large in
    float; neither exceeds the share.

    Args:
        share: In [0, 1]; a layer that does not fit is passed over.
        input_shapes: Sizes that the model does not tell, as in `Context`.
    """
    costs = _costs(model, found, input_shapes)
    left, chosen = np.full(2, share + _ROUNDED), []
    for name in sorted(found, key=lambda name: -found[name] / max(costs[name].sum(), _ROUNDED)):
        if (costs[name] <= left).all() and found[name] > 0:
            left -= costs[name]
            chosen.append(name)
    return tuple(chosen)


def _costs(model: Model, names: Collection[str], input_shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """The shares of multiply-accumulates and weights of each of these layers."""
    macs, layers = _macs(model, input_shapes), layers_of(model)
    costs = np.array([(macs[name], layers[name].weight.size) for name in names], np.float64)
    return dict(zip(names, costs / np.maximum(costs.sum(axis=0), 1), strict=True))


def _macs(model: Model, input_shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    graph = fix_sizes(model, None, dict(input_shapes)).graph
    sizes = known_sizes(graph)
    return {node.name: sum(term.value(sizes) for term in mac_terms(node)) for node in graph.nodes}
