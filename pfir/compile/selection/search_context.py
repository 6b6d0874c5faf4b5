"""What a search stands on: the methods, analysed on the model, and what their candidates are priced and scored with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.base import Method
from pfir.compile.methods.candidates import Candidates, Score
from pfir.compile.methods.few_bits import FewBits
from pfir.compile.methods.passes import SearchedPass, whole_cost
from pfir.compile.methods.pricing import Pricing
from pfir.compile.methods.pruning import analysed_pruning
from pfir.compile.methods.sizing import Sizing
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.prepare import Prepared, RunModels, fixed
from pfir.compile.request import Request
from pfir.compile.training.gradients import LossGradients
from pfir.compile.training.learning import Learning
from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.passes.base import Activations, Context, Pass
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.run.activations import activations
from pfir.run.evaluate import reference

BATCH = 16


@dataclass(frozen=True)
class SearchContext:
    """What every candidate of a model is made and priced with.

    Args:
        models: The parts that models play.
        candidates: Makes them.
        score: Of a candidate, untrained.
        baseline_s: Seconds that one inference of the baseline takes.
        calibration: What activations are taken on.
        precision: What the layers of candidates will compute in.
    """

    models: RunModels
    candidates: Candidates
    score: Score
    baseline_s: float
    calibration: Dataset
    precision: Precision = FLOATS

    @property
    def pricing(self) -> Pricing:
        """What candidates cost."""
        return self.candidates.pricing

    def activations(self, model: Model, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """The named tensors on the calibration data."""
        return activations(model, names, self.calibration, BATCH)

    def ranked(self, deadline: Deadline = NEVER) -> SearchContext:
        """The context once each method knows what only trials on data tell; the deadline ends them early."""
        data = self.score.data
        return self._of(tuple(method.ranked(data, deadline) for method in self.pricing.methods))

    def priced(self, sizing: Sizing) -> SearchContext:
        """The context, its costs those of models that are looked at so.

        Raises:
            Infeasible: A method cannot tell costs of such models.
        """
        methods = tuple(method.priced(sizing) for method in self.pricing.methods)
        pricing = replace(self.pricing, methods=methods, original=whole_cost(methods, self.models.start, sizing))
        candidates = replace(self.candidates, pricing=pricing)
        score = replace(self.score, candidates=candidates)
        return replace(self, candidates=candidates, score=score, precision=sizing.precision)

    def beside(self, method: Method) -> SearchContext:
        """The context with one more method, which comes last."""
        return self._of((*self.pricing.methods, method))

    def _of(self, methods: tuple[Method, ...]) -> SearchContext:
        candidates = replace(self.candidates, pricing=self.pricing.of(methods))
        return replace(self, candidates=candidates, score=replace(self.score, candidates=candidates))


def search_context_for(prepared: Prepared, request: Request, evaluator: Evaluator, samples: Samples) -> SearchContext:
    """Analyse the model for each method: what may go, what its consumers read, what matters, what a choice costs.

    Raises:
        UsageError: `--keep` or `--only` names a node that the model lacks.
        Infeasible: A method finds nothing that it may do.
    """
    models = prepared.models
    context = _context(models, samples, request)
    sizing = sizing_for(request, evaluator)
    methods = tuple(method_for(each, models.start, request, sizing, context) for each in prepared.open)
    pricing = Pricing(methods, whole_cost(methods, models.start, sizing), evaluator.estimator(models.baseline))
    candidates = Candidates(models.start, pricing)
    score = Score(candidates, samples.scoring, reference(models.teacher, samples.scoring))
    baseline_s = evaluator.original_latency(models.baseline).seconds
    return SearchContext(models, candidates, score, baseline_s, samples.calibration)


def sizing_for(request: Request, evaluator: Evaluator, precision: Precision = FLOATS) -> Sizing:
    """How candidates are looked at to be priced."""
    return Sizing(partial(fixed, request=request), evaluator.grouping, precision)


def method_for(each: Pass, model: Model, request: Request, sizing: Sizing, context: Context | None) -> Method:
    """The method that completes a pass on a model.

    Args:
        sizing: How a model is looked at to be priced.
        context: What its analysis needs from data; None where nothing will be built, only priced.
    """
    if isinstance(each, PruneChannels):
        return analysed_pruning(each, model, request, sizing, context)
    if isinstance(each, QuantizeUniform | QuantizeCodebook):
        return FewBits(model, each, request.keep, request.only).priced(sizing)
    return SearchedPass(model, each, sizing, request.keep, request.only)


def calibrated(samples: Samples) -> Activations:
    """The activations of any model on the calibration data."""
    return lambda model, names: activations(model, names, samples.calibration, BATCH)


def _context(models: RunModels, samples: Samples, request: Request) -> Context:
    gradients = LossGradients(models.teacher, samples.calibration, len(samples.calibration), request.engine)
    context = Context(calibrated(samples), gradients, seed=request.seed)
    return Learning(models.teacher, samples.calibration, request.seed, engine=request.engine).given_to(
        context, train=False
    )
