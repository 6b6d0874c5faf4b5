"""A goal of size alone, met by codebooks and zeros first; channels go only where these are not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfir.compile.methods.pricing import Limits
from pfir.compile.precision.compositions import Ladder, Rung, sparse
from pfir.compile.precision.sizes import Sizes, sizes_of
from pfir.compile.request import AUTO_PRECISION, Request
from pfir.compile.run_context import Chosen
from pfir.compile.selection.delivered import Delivered
from pfir.compile.selection.measured_search import measured_search
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.searching import Found, as_it_is
from pfir.compile.selection.selection import Selection
from pfir.compile.selection.size_goal import SizeGoal, out_of_reach
from pfir.compile.training.fine_tuning import FineTuned
from pfir.compile.training.growing import Growing
from pfir.errors import DataError, FrontendError, Infeasible
from pfir.passes.bits.searched import START
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.spec import format_pass
from pfir.report.record import Alone


def is_to_be_composed(request: Request, limits: Limits) -> bool:
    """Whether pfir chooses what is done, for a goal of size alone."""
    is_free = request.passes is None and request.recipe is None and request.precision == AUTO_PRECISION
    return is_free and limits.size_bytes is not None and limits == Limits(size_bytes=limits.size_bytes)


def composed(selection: Selection, search_context: SearchContext | None) -> Chosen | None:
    """The nearest composition that is small enough, with channels removed where none is; None where there is none.

    Args:
        selection: In floats.
        search_context: Channels that may go, priced in floats; None where none may.

    Raises:
        Infeasible: The goal is out of reach even without those channels.
    """
    run, size = selection.run, selection.run.request.goals.size
    assert size is not None
    ladder = Ladder(run, size, run.plan.choosing_ends(selection.elapsed_s))
    with run.stages("compose"):
        try:
            rungs = ladder.rungs()
        except (DataError, FrontendError, Infeasible) as error:
            run.progress.note(f"no codebooks: {error}")
            return None
    small = [rung for rung in rungs if rung.sizes.reach(size)]
    if small:
        chosen = _whole(selection, min(small, key=lambda rung: rung.scores.divergence))
    else:
        chosen = _narrower(selection, max(rungs, key=lambda rung: rung.sizes.times), search_context)
    return replace(chosen, alone=_alone(selection, rungs))


def sized(selection: Selection, search_context: SearchContext) -> Selection:
    """The selection whose search leaves as many bytes of weights as a goal of size leaves of the packed file.

    Raises:
        Infeasible: They are fewer than the methods can leave; the text says what can be reached.
    """
    if selection.run.request.goals.size is None:
        return selection
    rest = (selection.precision, selection.quantizing)
    coder, few_bits = selection.run.prepared.coder, selection.few_bits
    zeros = selection.run.prepared.sparsifier
    deliver = Delivered(selection.run, *rest, zeros, coder=None if few_bits else coder, few_bits=few_bits)
    average = None if few_bits is None else START
    sizes = sizes_of(selection.run.request, deliver(selection.run.models.start, average))
    return _aimed(selection, search_context, deliver, sizes, search_context.pricing.nouns)


def _aimed(
    selection: Selection, search_context: SearchContext, deliver: Delivered, sizes: Sizes, nouns: str
) -> Selection:
    """The selection with a goal of size that candidates are priced and packed for.

    Args:
        sizes: Of the model with all its channels, as it is delivered.
        nouns: What the goal is met by.

    Raises:
        Infeasible: It is out of reach.
    """
    request, size = selection.run.request, selection.run.request.goals.size
    assert size is not None
    original, few_bits = search_context.pricing.original, selection.few_bits
    priced = original.size_bytes if few_bits is None else original.bytes_in(START / few_bits.stored_bits)
    goal = SizeGoal(request, size, deliver, sizes, priced)
    goal.check(search_context, nouns)
    if not search_context.pricing.is_fixed:
        goal = goal.calibrated(search_context, selection.limits)
    return replace(selection, limits=goal.limited(selection.limits), size_goal=goal)


def _whole(selection: Selection, rung: Rung) -> Chosen:
    """All channels; what is trained before codebooks is nothing but what zeros took."""
    found = as_it_is(selection.run.models.start)
    if not rung.composition.sparsity:
        text = "" if rung.model is found.model else rung.model.provenance[-1]
        fine_tuned = FineTuned(rung.model, notes=rung.notes)
        return Chosen(found, fine_tuned, codebooks=text, coder=rung.composition.coder)
    return _finished(selection, found, rung)


def _narrower(selection: Selection, rung: Rung, search_context: SearchContext | None) -> Chosen:
    """The smallest composition of a model with fewer channels."""
    if search_context is None:
        raise Infeasible(out_of_reach("codebooks and zeros, and no channel may go", rung.sizes))
    with selection.run.stages("rank branches"):
        search_context = search_context.ranked(selection.run.plan.ranking_ends(selection.elapsed_s))
    composition = rung.composition
    deliver = Delivered(selection.run, sparsifier=composition.sparsifier, coder=composition.coder)
    nouns = f"{search_context.pricing.nouns}, codebooks and zeros"
    narrow = _aimed(selection, search_context, deliver, rung.sizes, nouns)
    found, notes = measured_search(narrow, search_context)
    chosen = _finished(narrow, found, rung)
    return replace(chosen, notes=(*notes, *chosen.notes))


def _finished(selection: Selection, found: Found, rung: Rung) -> Chosen:
    """The candidate with its zeros, trained as far as time is not kept for training its codebooks."""
    behind = replace(selection, rounding_loss=rung.scores.divergence)
    return replace(finished_with_zeros(behind, found, rung.composition.sparsifier), coder=rung.composition.coder)


def finished_with_zeros(selection: Selection, found: Found, sparsifier: SparsifyWeights | None) -> Chosen:
    """The candidate after training, with the zeros of a pass where there is one: made before, or by a gradual pass
    while it is trained.

    A candidate that is left with no weight that may become zero stays as it is.
    """
    if sparsifier is None:
        return selection.finished(found)
    with selection.run.stages("make zeros"):
        try:
            changed = _with_zeros(selection, found, sparsifier)
        except Infeasible:
            return selection.finished(found)
    if changed.model.provenance == found.model.provenance:
        return selection.finished(changed)
    if sparsifier.gradual and not selection.run.request.processes.several:
        dense = found.model.clone()
        dense.record(format_pass(sparsifier))
        selection = replace(selection, growing=Growing(dense, changed.model, sparsifier.pattern))
    return replace(selection.finished(changed), zeros=format_pass(sparsifier))


def _with_zeros(selection: Selection, found: Found, sparsifier: SparsifyWeights) -> Found:
    """The candidate and its rivals with the zeros of a pass, at once."""
    rivals = tuple(_with_zeros(selection, rival, sparsifier) for rival in found.rivals)
    made = sparse(selection.run, found.model, replace(sparsifier, gradual=False))
    if sparsifier.gradual and made.provenance != found.model.provenance:
        made.provenance = (*found.model.provenance, format_pass(sparsifier))
    return replace(found, model=made, rivals=rivals)


def _alone(selection: Selection, rungs: Sequence[Rung]) -> tuple[Alone, ...]:
    """What each share of zeros would have given with its codebooks, without removing a channel."""
    evaluator, baseline = selection.evaluator, selection.run.models.baseline
    before_s, size = evaluator.original_latency(baseline).seconds, selection.run.request.goals.size
    return tuple(
        Alone(
            rung.composition.way,
            before_s / evaluator.latency(rung.model).seconds,
            rung.sizes.times,
            rung.scores.fidelity,
            rung.sizes.reach(size),
        )
        for rung in rungs
    )
