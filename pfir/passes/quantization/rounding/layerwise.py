"""Layer by layer: each reads the quantized network as it is by then, and is to give what the float layer gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix
from pfir.passes.quantization.qdq.integer_layers import Bits, fitting_biases
from pfir.passes.quantization.rounding.flow import Flow
from pfir.passes.quantization.rounding.goals import goal_of
from pfir.passes.quantization.rounding.layers import QuantizedLayer, quantized_layers
from pfir.passes.quantization.rounding.objective import Objective
from pfir.passes.quantization.rounding.rows import rows_of
from pfir.passes.quantization.rounding.segments import segments

SAMPLES = 512
"""Calibration samples that are looked at, at most: the rows of a layer come from few places of each."""


@dataclass(frozen=True, eq=False)
class Choice:
    """How the weights of a layer are rounded.

    Args:
        integers: float32 [G, O, F].
        scale: float32 [G, O, 1]; where a layer has one scale for all outputs it is the one that it had.
    """

    integers: np.ndarray
    scale: np.ndarray


Choose = Callable[[Objective, int, np.random.Generator], Choice]
"""Finds integers within +-limit for an objective."""


def round_layers(
    model: Model, reference: Model, weight_bits: Bits, context: Context, choose: Choose
) -> tuple[str, ...]:
    """Choose, in place and in turn, the integer weights of a quantized model anew; the nodes of the layers it chose.

    A layer keeps what it has where that is better, behind the Relu or Clip that follows it, or where the layer is a
    transposed convolution. A bias takes up what is lacking on average.

    Args:
        model: Standard ONNX Q/DQ; names of nodes and of tensors that both models have are those of `reference`.
        reference: The float model that was quantized.
        weight_bits: 2 to 8; integers stay within +-(2^(weight_bits - 1) - 1).
        context: Gives the samples.
        choose: Finds integers.

    Raises:
        UsageError: weight_bits is out of its range, or the context has no samples.
    """
    layers = quantized_layers(model, reference, weight_bits)
    flow, chosen, rng = Flow(model, reference, context, SAMPLES), [], np.random.default_rng(context.seed)
    nodes, waiting = {node.name: node for node in model.nodes()}, dict(layers)
    for segment in segments(model, reference):
        for name in (name for name in segment.nodes if name in layers):
            layer = waiting.pop(name)
            if layer.matrix is not None:
                goal = goal_of(nodes[name], reference, waiting)
                rows = rows_of(layer.own.layer.data.name, goal, layer.matrix, segment, flow, rng)
                numbers = layer.weight, layer.own.scale, layer.own.layer.factor
                objective = Objective(*numbers, layer.matrix, rows, goal.bounds, _bias(model, layer))
                found = choose(objective, layer.limit, rng)
                chosen += _adopted(model, layer, layer.matrix, objective, found)
        flow.advance(segment)
    return tuple(chosen)


def _bias(model: Model, layer: QuantizedLayer) -> np.ndarray | None:
    """What the layer's bias adds to its product, float32 [O]."""
    bias = layer.own.bias
    if bias is None:
        return None
    return bias.values(model.initializers()[bias.tensor].values) * np.float32(bias.factor)


def _adopted(
    model: Model, layer: QuantizedLayer, matrix: ConsumerMatrix, objective: Objective, choice: Choice
) -> list[str]:
    """Give the layer what was chosen, with the bias that goes with it, if it is better; its node's name then."""
    own, bias, held = layer.own, layer.own.bias, model.initializers()
    now = objective.scale * matrix.matrix(np.asarray(held[own.integers].values, np.float32)).astype(np.float32)
    weight = choice.scale * choice.integers
    shift = objective.gap(weight) if bias is not None else np.zeros(1, np.float32)
    if not objective.error(weight, shift) < objective.error(now):
        return []
    arrays = {own.integers: matrix.weight(choice.integers, held[own.integers].values)}
    scales = held[own.scales].values
    if scales.size > 1:
        arrays[own.scales] = choice.scale.reshape(scales.shape).astype(scales.dtype)
    model.set_arrays(arrays)
    if bias is not None:
        values = bias.values(held[bias.tensor].values) + shift / np.float32(bias.factor)
        model.set_arrays(fitting_biases(model, {bias.tensor: values}))
    return [own.node]
