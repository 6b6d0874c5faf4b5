"""From the original to the compressed model: by recipe, by fixed choices, by search, or the fastest within a drop."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.methods.pricing import Limits
from pfir.compile.precision.choice import IN_FLOATS, Decision, PrecisionChoice
from pfir.compile.precision.kept_layers import kept_layers
from pfir.compile.precision.layers import Precision
from pfir.compile.precision.quantizing import Quantizing
from pfir.compile.replay import recipe_choices, recipe_quantization, recipe_zeros, replay
from pfir.compile.request import AUTO_PRECISION, Request
from pfir.compile.run_context import Chosen
from pfir.compile.selection.composing import composed, finished_with_zeros, is_to_be_composed, sized
from pfir.compile.selection.measured_search import measured_search
from pfir.compile.selection.search_context import SearchContext, search_context_for, sizing_for
from pfir.compile.selection.searched_bits import coder_of, joined, ranked
from pfir.compile.selection.searching import Found, as_it_is, built_by, check_reachable, kept_as
from pfir.compile.selection.selection import Selection
from pfir.compile.selection.within_drop import fastest_within
from pfir.compile.training.fine_tuning import FineTuned
from pfir.errors import Infeasible
from pfir.passes.quantization.grids import LARGEST_BITS
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.run.evaluate import reference
from pfir.target import FLOAT16, FLOAT32, INT8


def choose(selection: Selection) -> Chosen:
    """The compressed model.

    Raises:
        Infeasible: The goals lie beyond what the methods can reach; nothing was tried then.
    """
    run = selection.run
    if run.request.recipe is not None and not run.request.retrain:
        with run.stages("replay"):
            return replay(run.prepared, run.request)
    if not run.prepared.open:
        return _only_passes(selection)
    if _is_met_already(selection):
        return Chosen((nothing := as_it_is(run.models.start)), FineTuned(nothing.model))
    try:
        with run.stages("analyse"):
            search_context = search_context_for(run.prepared, run.request, selection.evaluator, run.samples)
    except Infeasible:
        decision, decided = _decided(selection, None)
        if run.request.recipe is not None:
            raise
        if decision.suffices:
            return _in_eight_bits(decided, decision)
        if (chosen := _composed(selection, None, decision)) is None:
            raise
        return chosen
    if run.request.recipe is not None:
        found = kept_as(search_context, recipe_choices(run.prepared, run.request, search_context.pricing.methods))
        selection = _as_in_recipe(selection)
        return finished_with_zeros(selection, selection.fitted(search_context, found), recipe_zeros(run.request))
    decision, decided = _decided(selection, search_context)
    if decision.suffices:
        return _in_eight_bits(decided, decision)
    if (composition := _composed(selection, search_context, decision)) is not None:
        return composition
    selection = decided
    if search_context.pricing.is_fixed:
        found = selection.fitted(search_context, built_by(search_context, {}))
        chosen = finished_with_zeros(selection, found, run.prepared.sparsifier)
    else:
        sizing = sizing_for(run.request, selection.evaluator, decision.precision)
        chosen = _searched(*joined(selection, search_context.priced(sizing)))
    return replace(chosen, alone=decision.alone, notes=(*decision.notes, *chosen.notes))


def _composed(selection: Selection, search_context: SearchContext | None, decision: Decision) -> Chosen | None:
    """The composition that meets a goal of size alone; None where it is none, or the model can have no codebooks."""
    chosen = composed(selection, search_context) if is_to_be_composed(selection.run.request, selection.limits) else None
    return None if chosen is None else replace(chosen, alone=(*decision.alone, *chosen.alone))


def _in_eight_bits(selection: Selection, decision: Decision) -> Chosen:
    """The model as it is but for its precision."""
    whole = as_it_is(selection.run.models.start)
    chosen = selection.quantized(Chosen(whole, FineTuned(whole.model)))
    return replace(selection.trained_quantized(chosen), alone=decision.alone)


def _decided(selection: Selection, search_context: SearchContext | None) -> tuple[Decision, Selection]:
    """What layers compute in, and the selection that knows it."""
    run, given = selection.run, selection.run.prepared.quantizer
    if run.request.precision in (FLOAT32.name, FLOAT16.name) or (_passes_say_all(run.request) and given is None):
        return IN_FLOATS, selection
    with run.stages("choose precision"):
        if given is not None:
            return _as_given(selection, given)
        quantizing = _quantizing(selection)
        rest = (run, selection.evaluator, selection.limits, quantizing, search_context)
        decision = PrecisionChoice(*rest).decide()
    known = replace(selection, precision=decision.precision, quantizing=quantizing, rounding_loss=decision.divergence)
    return decision, known


def _as_given(selection: Selection, given: QuantizeUniform) -> tuple[Decision, Selection]:
    """Layers as the pass of `--passes` quantizes them: those that it leaves in float are chosen before channels go."""
    quantizing = _quantizing(selection)
    if given.searches_bits:
        given = replace(given, weight_bits=LARGEST_BITS)
    start, request = selection.run.models.start, selection.run.request
    kept = kept_layers(start, request.keep, request.only)
    given = quantizing.with_bits(start, given, kept)
    quantizing = replace(quantizing, ways=(given,))
    made = quantizing.nearest(start, Precision(True, kept, given.bits))
    precision = Precision(True, made.how.left_in_float, given.bits)
    fixed = replace(quantizing, ways=(replace(given, float_layers=0),))
    decision = Decision(precision, divergence=made.scores.divergence)
    return decision, replace(selection, precision=precision, quantizing=fixed, rounding_loss=decision.divergence)


def _passes_say_all(request: Request) -> bool:
    """Whether `--passes` names what is done, and nothing asks for eight bits beside it."""
    return request.passes is not None and request.precision == AUTO_PRECISION


def _as_in_recipe(selection: Selection) -> Selection:
    """The selection in the precision of the recipe, quantized by its way."""
    how = recipe_quantization(selection.run.request)
    if how is None:
        return selection
    quantizing = replace(_quantizing(selection), ways=(how.way,))
    precision = Precision(True, how.left_in_float, how.way.bits)
    lost = quantizing.first(selection.run.models.start, precision).scores.divergence if how.training else 0.0
    return replace(selection, precision=precision, quantizing=quantizing, rounding_loss=lost)


def _quantizing(selection: Selection) -> Quantizing:
    run, scoring = selection.run, selection.run.samples.scoring
    threads = run.request.jobs or 1
    answers, ends = reference(run.models.teacher, scoring, threads), run.plan.choosing_ends(selection.elapsed_s)
    return Quantizing(run.samples, answers, run.request.seed, threads, ends)


def _only_passes(selection: Selection) -> Chosen:
    """The model as the passes of `--passes` left it, trained if one of them gave up some of the function."""
    found = as_it_is(selection.run.models.start)
    note = "nothing was pruned: --passes names no prune-channels"
    if selection.run.request.recipe is not None:
        decision, selection, zeros = IN_FLOATS, _as_in_recipe(selection), recipe_zeros(selection.run.request)
        if zeros is not None:
            return finished_with_zeros(selection, found, zeros)
    else:
        decision, selection = _decided(selection, None)
    if selection.run.prepared.sparsifier is not None and selection.run.request.recipe is None:
        chosen = finished_with_zeros(selection, found, selection.run.prepared.sparsifier)
    elif not selection.run.prepared.is_compressed:
        chosen = selection.trained_quantized(selection.quantized(Chosen(found, FineTuned(found.model), (note,))))
    else:
        chosen = selection.finished(found)
    return replace(chosen, alone=decision.alone)


def _is_met_already(selection: Selection) -> bool:
    """Whether the model as it is keeps the only limit, one of latency, and the user fixed no choice."""
    request, limits = selection.run.request, selection.limits
    prepared = selection.run.prepared
    is_given = request.recipe is not None or prepared.quantizer is not None
    is_fixed = is_given or not any(p.is_open for p in prepared.searched)
    if is_fixed or limits.latency_s is None or limits != Limits(limits.latency_s) or request.precision == INT8:
        return False
    if request.goals.latency_s is None and selection.run.target.arithmetic == FLOAT32:
        return False  # it is no faster than itself
    return selection.evaluator.latency(selection.run.models.start).seconds <= limits.latency_s


def _searched(selection: Selection, search_context: SearchContext) -> Chosen:
    run = selection.run
    with run.stages("rank branches"):
        search_context = search_context.ranked(run.plan.ranking_ends(selection.elapsed_s))
    selection = sized(ranked(selection, search_context), search_context)
    check_reachable(search_context, selection.limits)
    if selection.limits == Limits():
        return fastest_within(selection, search_context)
    found, notes = measured_search(selection, search_context)
    chosen = _finished(selection, search_context, found)
    return replace(chosen, notes=(*notes, *chosen.notes), coder=coder_of(selection, chosen))


def _finished(selection: Selection, search_context: SearchContext, found: Found) -> Chosen:
    """The candidate after training, some of it kept for few bits where the search chose these."""
    sparsifier = selection.run.prepared.sparsifier
    if selection.few_bits is None:
        return finished_with_zeros(selection, found, sparsifier)
    if not found.texts and sparsifier is None:  # nothing but bits: there is nothing yet that training could make up for
        return selection.trained_quantized(selection.quantized(Chosen(found, FineTuned(found.model))))
    judge, rounded = selection.run.judge, search_context.candidates.rounded(found.model, found.choices)
    lost = judge.scores(rounded).divergence - judge.scores(found.model).divergence
    return finished_with_zeros(replace(selection, rounding_loss=max(lost, 0.0)), found, sparsifier)
