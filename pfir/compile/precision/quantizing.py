"""The compressed model quantized: a few ways are tried, and the one that stays nearest to the original is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.precision.layers import TRAINED, Precision, Quantization
from pfir.compile.selection.search_context import calibrated
from pfir.errors import OutOfTime
from pfir.ir.constants.settle import settle_constants
from pfir.ir.edit import is_op, producer
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.pipeline import run
from pfir.passes.quantization.opset import FIRST_WITH_CHANNELS, lift_opset
from pfir.passes.quantization.output_error import OutputError
from pfir.passes.quantization.placement import KERNELS, layers_of, place
from pfir.passes.quantization.planning import bits_by_layer, plan_quantized
from pfir.passes.quantization.qdq.integer_layers import integer_layers
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.quantization.ranges import observe
from pfir.passes.quantization.sensitivity import sensitivities
from pfir.passes.quantization.structure import structure
from pfir.passes.quantization.writing import written
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.spec import format_pass
from pfir.run.evaluate import Reference, Scores, evaluate

WAYS = (QuantizeUniform(pairs=KERNELS), QuantizeUniform(calibration="percentile", pairs=KERNELS))
"""What is tried, in this order; which is best differs from net to net."""
FEW_SAMPLES = 64
"""Enough for a first estimate of what integers lose."""
FURTHER = "compensated"
"""The rounding that is tried on the best of several ways."""


@dataclass(frozen=True)
class Quantized:
    """A quantized model.

    Args:
        model: With integers for weights.
        how: What makes its nodes again.
        scores: Against the original.
    """

    model: Model
    how: Quantization
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
        ways: What is tried.
    """

    samples: Samples
    reference: Reference
    seed: int = 0
    threads: int = 1
    ends: Deadline = NEVER
    ways: tuple[QuantizeUniform, ...] = WAYS

    def nearest(self, model: Model, precision: Precision) -> Quantized:
        """The model, quantized by the way that loses least.

        Raises:
            Infeasible: It has no layer that may be quantized.
            DataError: There are too few calibration samples, or they give NaN.
            FrontendError: Its opset has no integers with a scale for each channel, and cannot be lifted.
        """
        start = ready_for_integers(model)
        left = tuple(name for name in precision.left_in_float if name in layers_of(start))
        best = self._by(self.ways[0], start, left, NEVER)
        try:
            for way in self.ways[1:]:
                best = min(best, self._by(way, start, left, self.ends), key=_distance)
            if len(self.ways) > 1:
                way = replace(best.how.way, rounding=FURTHER)
                best = min(best, self._by(way, start, left, self.ends), key=_distance)
        except OutOfTime:
            pass
        return best

    def first(self, model: Model, precision: Precision) -> Quantized:
        """The model, quantized by the first way on a few samples; what it raises is as of `nearest`."""
        calibration = self.samples.calibration
        few = calibration.subset(np.arange(min(FEW_SAMPLES, len(calibration))))
        quick = replace(self, samples=replace(self.samples, calibration=few), ways=self.ways[:1])
        return quick.nearest(model, precision)

    def with_bits(self, model: Model, way: QuantizeUniform, kept: Sequence[str]) -> QuantizeUniform:
        """The way with the bits of each layer that its `average_bits` stands for.

        Args:
            kept: Layers that stay float, by name of their node.
        """
        return way.with_bits(ready_for_integers(model), kept, calibrated(self.samples))

    def sensitivities(self, model: Model, layers: Sequence[str]) -> dict[str, float]:
        """What each of these layers costs the outputs when it alone is quantized, by name, as far as there is time."""
        start, activations = ready_for_integers(model), self.ends.guard(calibrated(self.samples))
        settings, found = self.ways[0].settings(), dict[str, float]()
        placement = place(start, pairs=settings.pairs)

        def alone(name: str) -> Model:
            others = [other for other in placement.layers if other != name]
            return written(start, plan_quantized(start, histograms, settings, others))

        try:
            histograms, error = observe(start, placement.tensors, activations), OutputError(start, activations)
            for name in layers:
                found |= sensitivities((name,), error, alone)
        except OutOfTime:
            pass
        return found

    def _by(self, way: QuantizeUniform, start: Model, left: tuple[str, ...], ends: Deadline) -> Quantized:
        ends.check()
        context = Context(ends.guard(calibrated(self.samples)), keep=left, seed=self.seed)
        there = layers_of(start)  # A branch that went took its layers with it.
        way = replace(way, layer_bits=tuple((name, bits) for name, bits in way.layer_bits if name in there))
        made, _ = run((way,), start, context)
        scores = evaluate(made, self.samples.scoring, self.reference, self.threads)
        return Quantized(made, Quantization(format_pass(way), layers_left(start, made)), scores)


def _distance(quantized: Quantized) -> float:
    return quantized.scores.divergence


def quantized_frame(model: Model, how: Quantization) -> Model:
    """The model as it was quantized, every number zero: a recipe brings its own."""
    made = structure(ready_for_integers(model), how.left_in_float, how.way.bits)
    made.record(how.text)
    if how.training:
        made.record(TRAINED)
    return made


def ready_for_integers(model: Model) -> Model:
    """A copy, simplified and folded, in which every layer that can has a bias of its own: no way of quantizing adds one
    then, so that all give the same nodes.

    Raises:
        FrontendError: Its opset cannot be lifted to one with a scale for each channel.
    """
    model = model.clone()
    settle_constants(model)
    for each in (Simplify(), FoldBatchNorm()):
        each.apply(model, Context())
    lift_opset(model, FIRST_WITH_CHANNELS)
    for layer in layers_of(model).values():
        if layer.layer.operator.bias is not None:
            layer.set_bias(layer.bias())
    return model


def integer_bits(model: Model, way: QuantizeUniform) -> dict[str, int]:
    """The bits of the weight of each layer of integers, by name of the node, in a model that this way quantized."""
    held = model.initializers()
    sizes = {layer.node: held[layer.integers].values.size for layer in integer_layers(model)}
    return bits_by_layer(sizes, way.bits.weight, way.eight_bit_share, dict(way.layer_bits))


def layers_left(start: Model, made: Model) -> tuple[str, ...]:
    """The layers that could have integers for weights and have none."""
    nodes = {node.name: node for node in made.nodes()}
    weights = {name: nodes[name].inputs[layer.layer.place] for name, layer in layers_of(start).items()}
    makers = {name: producer(weight) for name, weight in weights.items()}
    return tuple(name for name, node in makers.items() if node is None or not is_op(node, "DequantizeLinear"))
