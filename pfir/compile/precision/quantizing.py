"""The compressed model quantized: a few ways are tried, and the one that stays nearest to the original is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.precision.layers import Precision
from pfir.compile.selection.search_context import calibrated
from pfir.errors import OutOfTime, UsageError
from pfir.ir.constants.settle import settle_constants
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.pipeline import run
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.quantization.structure import structure
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.spec import format_pass, parse
from pfir.run.evaluate import Reference, Scores, evaluate

WAYS = (
    QuantizeUniform(),
    QuantizeUniform(bias_correction=True),
    QuantizeUniform(equalize=True, bias_correction=True),
)
"""What is tried, in this order; which is best differs from net to net."""


@dataclass(frozen=True)
class Quantized:
    """A quantized model.

    Args:
        model: With integers for weights.
        text: The pass that made it.
        scores: Against the original.
    """

    model: Model
    text: str
    scores: Scores


@dataclass(frozen=True)
class Quantizing:
    """How models are quantized and judged.

    Args:
        samples: Their calibration part tells ranges; their scoring part judges.
        reference: The original's outputs on the latter.
        seed: Of every random choice.
        threads: That models run on.
        ends: No way but the first is tried later, or goes on.
    """

    samples: Samples
    reference: Reference
    seed: int = 0
    threads: int = 1
    ends: Deadline = NEVER

    def nearest(self, model: Model, precision: Precision) -> Quantized:
        """The model, quantized by the way that loses least.

        Raises:
            Infeasible: It has no layer that may be quantized.
            DataError: There are too few calibration samples, or they give NaN.
        """
        prepared = with_biases(model)
        there = layers_of(prepared)
        left = tuple(name for name in precision.left_in_float if name in there)
        found = [self._by(replace(WAYS[0], left_in_float=left), prepared, NEVER)]
        try:
            for way in WAYS[1:]:
                self.ends.check()
                found.append(self._by(replace(way, left_in_float=left), prepared, self.ends))
        except OutOfTime:
            pass
        return min(found, key=lambda each: each.scores.divergence)

    def _by(self, way: QuantizeUniform, model: Model, ends: Deadline) -> Quantized:
        context = Context(ends.guard(calibrated(self.samples)), seed=self.seed)
        made, _ = run((way,), model, context)
        scores = evaluate(made, self.samples.scoring, self.reference, self.threads)
        return Quantized(made, format_pass(way), scores)


def quantized_frame(model: Model, text: str) -> Model:
    """The model as this pass would have quantized it, every number zero: a recipe brings its own.

    Raises:
        UsageError: As `quantization_of`.
    """
    chosen = quantization_of(text)
    prepared = with_biases(model)
    settle_constants(prepared)
    for each in (Simplify(), FoldBatchNorm()):
        each.apply(prepared, Context())
    made = structure(prepared, chosen.left_in_float)
    made.record(text)
    return made


def quantization_of(text: str) -> QuantizeUniform:
    """The pass that a recipe names.

    Raises:
        UsageError: The text is not that of quantize-uniform.
    """
    passes = parse(text)
    if len(passes) != 1 or not isinstance(passes[0], QuantizeUniform):
        raise UsageError(f"the recipe quantizes by {text!r}, which is not quantize-uniform")
    return passes[0]


def with_biases(model: Model) -> Model:
    """A copy in which every layer that can has a bias of its own: no way of quantizing adds one, so that all give the
    same nodes."""
    model = model.clone()
    for layer in layers_of(model).values():
        if layer.layer.operator.bias is not None:
            layer.set_bias(layer.bias())
    return model
