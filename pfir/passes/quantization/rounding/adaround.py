"""AdaRound: layer by layer, each weight is rounded up or down so that the layer gives what the float one gave."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix
from pfir.passes.quantization.rounding.flow import Flow
from pfir.passes.quantization.rounding.layers import QuantizedLayer, quantized_layers
from pfir.passes.quantization.rounding.objective import Objective
from pfir.passes.quantization.rounding.rows import Rows, rows_of
from pfir.passes.quantization.rounding.segments import segments
from pfir.passes.quantization.rounding.soft import Annealing, SoftWeights


@dataclass(frozen=True)
class AdaRound:
    """How long and on what rounding is learnt.

    Args:
        steps: Of Adam, for each layer, >= 1.
        batch: Rows in a step, >= 1.
        rate: Adam's, > 0.
        annealing: How weights are made to choose. Its weight counts in units of the error of nearest rounding, shared
            out over all weights, so that it fits activations of any size.
        samples: Calibration samples to take at most, >= 1.
    """

    steps: int = 1000
    batch: int = 512
    rate: float = 0.01
    annealing: Annealing = field(default_factory=lambda: Annealing(weight=1.0))
    samples: int = 512

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "samples"):
            if not getattr(self, name) >= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.rate > 0:
            raise UsageError(f"rate is {self.rate}; it must be above 0")


def adaround(
    model: Model, reference: Model, weight_bits: int, context: Context, settings: AdaRound | None = None
) -> tuple[str, ...]:
    """Choose, in place and in turn, the integer weights of a quantized model anew; the nodes of the layers it chose.

    Each layer reads the quantized model as it is by then and is to give what the float model gives, behind the Relu or
    Clip that follows it. Where no integers near the float weights do better than those nearest to them, or a layer is a
    transposed convolution, the layer keeps what it has.

    Args:
        model: Standard ONNX Q/DQ with weights rounded to the nearest; names of nodes and of tensors that both models
            have are those of `reference`.
        reference: The float model that was quantized.
        weight_bits: 2 to 8; integers stay within +-(2^(weight_bits - 1) - 1).
        context: Gives the samples.
        settings: See AdaRound.

    Raises:
        UsageError: weight_bits is out of its range, or the context has no samples.

    Source: Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
    Quantization", ICML 2020, arXiv:2004.10568, section 3.3, the asymmetric reconstruction of equation 25. Ours weighs
    the regulariser by the error of nearest rounding, and keeps the better of what was learnt and what was there.
    """
    settings = settings or AdaRound()
    layers = {layer.node: layer for layer in quantized_layers(model, reference, weight_bits)}
    flow, chosen = Flow(model, reference, context, settings.samples), []
    for segment in segments(model, reference):
        for layer in (layers[name] for name in segment.nodes if name in layers):
            if layer.matrix is not None:
                rows = rows_of(layer, layer.matrix, segment, flow, context.seed)
                chosen += _choose(model, layer, layer.matrix, rows, settings, context.seed)
        flow.advance(segment)
    return tuple(chosen)


def _choose(
    model: Model, layer: QuantizedLayer, matrix: ConsumerMatrix, rows: Rows, settings: AdaRound, seed: int
) -> list[str]:
    """Give the layer the integers that were learnt, if they are better; its node's name then."""
    held = model.initializers()[layer.integers]
    objective = Objective(layer, matrix, rows)
    found = learnt(objective, layer.limit, settings, np.random.default_rng(seed))
    before = matrix.matrix(np.asarray(held.values, np.float32))
    if not objective.error(objective.scale * found) < objective.error(objective.scale * before):
        return []
    model.set_arrays({layer.integers: matrix.weight(found, held.values)})
    return [layer.node]


def learnt(objective: Objective, limit: int, settings: AdaRound, rng: np.random.Generator) -> np.ndarray:
    """The integers of the least error that were found, float32 [G, O, F]."""
    soft = SoftWeights(objective.weight, objective.scale, limit)
    unit = objective.error(objective.scale * soft.integers) / objective.weight.size
    annealing, batch = settings.annealing, min(settings.batch, objective.count)
    for step in range(settings.steps if unit > 0 else 0):
        gradient = objective.gradient(soft.values, rng.integers(objective.count, size=batch))
        soft.step(gradient, settings.rate, annealing.beta(step / settings.steps), annealing.weight * unit)
    return soft.integers
