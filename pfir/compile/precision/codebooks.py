"""The result with codebooks for weights: found on calibration data, trained, and made again without either."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.calibration.samples import Samples
from pfir.compile.precision.kept_layers import kept_layers
from pfir.compile.precision.sizes import sizes_of
from pfir.compile.request import Request
from pfir.compile.run_context import Chosen, RunContext
from pfir.compile.selection.search_context import calibrated
from pfir.compile.training.codebooks import TRAINED, train_codebooks
from pfir.compile.training.fine_tuning import FineTuning
from pfir.compile.training.options import TrainOptions
from pfir.compile.training.quantization_aware import joined_curves
from pfir.compile.workspace import Workspace
from pfir.ir.constants.codebooks import codebook_weight
from pfir.ir.linear import linear_layers
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.bits.searched import FEWEST
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.spec import format_pass, parse

LEAST_S = 10.0
"""Less time is not worth a training."""
LOWERINGS = 4
"""Codebooks that are found at most, of fewer bits each time, for a file that is small enough."""


def with_codebooks(
    run: RunContext, chosen: Chosen, given: QuantizeCodebook | None, workspace: Workspace, options: TrainOptions
) -> Chosen:
    """The result with weights out of codebooks, trained as far as there are epochs and time; as it is without a pass.

    Args:
        given: The pass; where the result has its codebooks already, they are only trained.
        workspace: Where the state of training is kept.
        options: What a user says of training.

    Raises:
        Infeasible: No layer may have a codebook.
    """
    if given is None:
        return chosen
    if chosen.codebooks:
        return _trained(run, chosen, workspace, options)
    with run.stages("find codebooks"):
        model, notes = _small_enough(run, chosen, given)
    fine_tuned = replace(chosen.fine_tuned, model=model, notes=(*chosen.fine_tuned.notes, *notes))
    text = model.provenance[-1] if model is not chosen.fine_tuned.model else ""
    coded_one = replace(chosen, fine_tuned=fine_tuned, codebooks=text)
    return _trained(run, coded_one, workspace, options) if text else chosen


def _small_enough(run: RunContext, chosen: Chosen, given: QuantizeCodebook) -> tuple[Model, tuple[str, ...]]:
    """The result with codebooks; where pfir chose their bits and its file misses a goal of size, with fewer bits."""
    size, known = run.request.goals.size, chosen.fine_tuned.model
    for _ in range(LOWERINGS):
        model, notes = coded(known, given, run.samples, run.request)
        if size is None or chosen.coder is None or given.average_bits is None:
            break
        sizes = sizes_of(run.request, model)
        fewer = given.average_bits * min(1.0, sizes.share_for(size))
        if sizes.times >= size or fewer < FEWEST:
            break
        given = replace(given, average_bits=fewer)
    return model, notes


def coded(model: Model, given: QuantizeCodebook, samples: Samples, request: Request) -> tuple[Model, tuple[str, ...]]:
    """A copy with codebooks, which names the pass with the bits of every layer; the model where none is smaller so.

    Layers that a user keeps have none.
    """
    copy, kept = model.clone(), kept_layers(model, request.keep, request.only)
    change = given.apply(copy, Context(calibrated(samples), keep=kept, seed=request.seed))
    if not change.changed:
        return model, change.notes
    found = ((layer.node.name, codebook_weight(layer.weight)) for layer in linear_layers(copy))
    bits = tuple((name, round(weight.bits)) for name, weight in found if weight is not None)
    copy.record(format_pass(replace(given, bits=None, average_bits=None, layer_bits=bits)))
    return copy, change.notes


def coded_frame(model: Model, text: str, is_trained: bool) -> Model:
    """The model as it got codebooks, with any numbers: a recipe brings its own.

    Args:
        text: The pass, with the bits of every layer.
        is_trained: Whether the codebooks were trained.
    """
    (given,) = parse(text)
    assert isinstance(given, QuantizeCodebook)
    copy = model.clone()
    quick = replace(given, start="quantile", weighting="none", rounding="nearest")
    quick.apply(copy, Context())
    copy.record(text)
    if is_trained:
        copy.record(TRAINED)
    return copy


def _trained(run: RunContext, chosen: Chosen, workspace: Workspace, options: TrainOptions) -> Chosen:
    plan, request = run.plan, run.request
    budget_s = plan.training_s(run.stages.elapsed_s)
    if not plan.quantized_epochs or (budget_s is not None and budget_s < LEAST_S):
        return chosen
    checkpoint = workspace.checkpoint(chosen.fine_tuned.model.to_bytes())
    where = (request.engine, replace(request.processes, folder=workspace.training_job))
    how = FineTuning(plan.quantized_epochs, budget_s, request.seed, request.jobs, checkpoint, *where, options=options)
    with run.stages("train codebooks"):
        rest = (run.models.teacher, run.samples, how, run.progress, run.judge)
        tuned = train_codebooks(chosen.fine_tuned.model, *rest)
    curve = joined_curves(chosen.fine_tuned.curve, tuned.curve)
    notes = (*chosen.fine_tuned.notes, *tuned.notes)
    return replace(chosen, fine_tuned=replace(chosen.fine_tuned, model=tuned.model, curve=curve, notes=notes))
