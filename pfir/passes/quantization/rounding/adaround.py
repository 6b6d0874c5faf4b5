"""AdaRound: layer by layer, each weight is rounded up or down so that the layer gives what the float one gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.qdq.integer_layers import Bits
from pfir.passes.quantization.rounding.layerwise import Choice, round_layers
from pfir.passes.quantization.rounding.objective import Objective
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
    """

    steps: int = 500
    batch: int = 512
    rate: float = 0.03
    annealing: Annealing = field(default_factory=lambda: Annealing(weight=100.0))

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if not getattr(self, name) >= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.rate > 0:
            raise UsageError(f"rate is {self.rate}; it must be above 0")


def adaround(
    model: Model, reference: Model, weight_bits: Bits, context: Context, settings: AdaRound | None = None
) -> tuple[str, ...]:
    """Round each weight of a quantized model up or down, in place, layer by layer; the nodes of the layers it chose.

    Args and Raises: as `round_layers`.

    Args:
        settings: See AdaRound.

    Source: Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
    Quantization", ICML 2020, arXiv:2004.10568, section 3.3, the asymmetric reconstruction of equation 25. Ours weighs
    the regulariser by the error of nearest rounding, and keeps the better of what was learnt and what was there.
    """
    return round_layers(model, reference, weight_bits, context, partial(learnt, settings=settings or AdaRound()))


def learnt(objective: Objective, limit: int, rng: np.random.Generator, settings: AdaRound) -> Choice:
    """The integers that soft weights end up at."""
    soft = SoftWeights(objective.weight, objective.scale, limit)
    unit = objective.error(objective.scale * soft.integers) / objective.weight.size
    annealing, batch = settings.annealing, min(settings.batch, objective.count)
    for step in range(settings.steps if unit > 0 else 0):
        gradient = objective.gradient(soft.values, rng.integers(objective.count, size=batch))
        soft.step(gradient, settings.rate, annealing.beta(step / settings.steps), annealing.weight * unit)
    return Choice(soft.integers, objective.scale)
