"""A goal of size alone, met by codebooks and zeros first; channels go only where these are not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfir.compile.methods.pricing import Limits
from pfir.compile.methods.reach import Reach
from pfir.compile.precision.codebooks import coded
from pfir.compile.precision.compositions import Ladder, Rung, sparse
from pfir.compile.precision.sizes import Sizes, sizes_of
from pfir.compile.request import AUTO_PRECISION, Request
from pfir.compile.run_context import Chosen
from pfir.compile.selection.measured_search import measured_search
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.searching import Found, as_it_is
from pfir.compile.selection.selection import Selection
from pfir.compile.training.fine_tuning import FineTuned
from pfir.errors import DataError, FrontendError, Infeasible
from pfir.ir.model import Model
from pfir.passes.base import Pass
from pfir.report import wording
from pfir.report.record import Alone

MARGIN = 0.98
"""Of the weights that a goal of size leaves: what is pruned does not pack quite like the whole."""


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
        chosen = _narrower(selection, ladder, max(rungs, key=lambda rung: rung.sizes.times), search_context)
    return replace(chosen, alone=_alone(selection, rungs))


def check_size(search_context: SearchContext, sizes: Sizes, size: float, nouns: str) -> None:
    """Return only if the goal of size can be met.

    Args:
        sizes: Of the model with all its channels.
        nouns: What it would be met by.

    Raises:
        Infeasible: It cannot; the text says what can be reached.
    """
    pricing = search_context.pricing
    reach = Reach(pricing, search_context.baseline_s)
    least = sizes.with_weights(reach.size_bytes / pricing.original.size_bytes)
    if not least.reach(size):
        raise Infeasible(_out_of_reach(nouns, least))


def limited(selection: Selection, search_context: SearchContext, sizes: Sizes, size: float) -> Selection:
    """The selection whose search may leave as many bytes of weights as the goal of size leaves of the packed file."""
    share = min(1.0, MARGIN * sizes.share_for(size))
    size_bytes = share * search_context.pricing.original.size_bytes
    return replace(selection, limits=replace(selection.limits, size_bytes=size_bytes))


def sized(selection: Selection, search_context: SearchContext) -> Selection:
    """The selection whose search leaves as many bytes of weights as a goal of size leaves of the packed file.

    Raises:
        Infeasible: They are fewer than the methods can leave; the text says what can be reached.
    """
    size = selection.run.request.goals.size
    if size is None:
        return selection
    sizes = sizes_of(selection.run.request, selection.run.models.baseline, _as_delivered(selection))
    check_size(search_context, sizes, size, search_context.pricing.nouns)
    return limited(selection, search_context, sizes, size)


def _as_delivered(selection: Selection) -> Model:
    """The model with all its channels in the form in which the result will be, its numbers found quickly."""
    start, coder = selection.run.models.start, selection.run.prepared.coder
    if coder is not None:
        quick = replace(coder, weighting="none", rounding="nearest")
        return coded(start, quick, selection.run.samples, selection.run.request.seed)[0]
    if selection.quantizing is not None and selection.precision.integers:
        return selection.quantizing.first(start, selection.precision).model
    return start


def _whole(selection: Selection, rung: Rung) -> Chosen:
    """All channels; what is trained before codebooks is nothing but what zeros took."""
    found = as_it_is(selection.run.models.start)
    if not rung.composition.sparsity:
        text = "" if rung.model is found.model else rung.model.provenance[-1]
        fine_tuned = FineTuned(rung.model, notes=rung.notes)
        return Chosen(found, fine_tuned, codebooks=text, coder=rung.composition.coder)
    return _finished(selection, found, rung)


def _narrower(selection: Selection, ladder: Ladder, rung: Rung, search_context: SearchContext | None) -> Chosen:
    """The smallest composition of a model with fewer channels."""
    if search_context is None:
        raise Infeasible(_out_of_reach("codebooks and zeros, and no channel may go", rung.sizes))
    with selection.run.stages("rank branches"):
        search_context = search_context.ranked(selection.run.plan.ranking_ends(selection.elapsed_s))
    check_size(search_context, rung.sizes, ladder.size, f"{search_context.pricing.nouns}, codebooks and zeros")
    narrow = limited(selection, search_context, rung.sizes, ladder.size)
    found, notes = measured_search(narrow, search_context)
    chosen = _finished(narrow, found, rung)
    return replace(chosen, notes=(*notes, *chosen.notes))


def _finished(selection: Selection, found: Found, rung: Rung) -> Chosen:
    """The candidate with its zeros, trained as far as time is not kept for training its codebooks."""
    behind = replace(selection, rounding_loss=rung.scores.divergence)
    return replace(finished_with_zeros(behind, found, rung.composition.sparsifier), coder=rung.composition.coder)


def finished_with_zeros(selection: Selection, found: Found, sparsifier: Pass | None) -> Chosen:
    """The candidate after training, with the zeros of a pass where there is one.

    A candidate that is left with no weight that may become zero stays as it is.
    """
    if sparsifier is None:
        return selection.finished(found)
    with selection.run.stages("make zeros"):
        try:
            changed = _with_zeros(selection, found, sparsifier)
        except Infeasible:
            return selection.finished(found)
    is_changed = changed.model.provenance != found.model.provenance
    return replace(selection.finished(changed), zeros=changed.model.provenance[-1] if is_changed else "")


def _with_zeros(selection: Selection, found: Found, sparsifier: Pass) -> Found:
    """The candidate and its rivals with the zeros of a pass."""
    rivals = tuple(_with_zeros(selection, rival, sparsifier) for rival in found.rivals)
    return replace(found, model=sparse(selection.run, found.model, sparsifier), rivals=rivals)


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


def _out_of_reach(nouns: str, least: Sizes) -> str:
    """What is reached at most."""
    packed = wording.size(least.files.packed_bytes)
    return (
        f"the goal is out of reach by {nouns}: at most {least.times:.2f}x smaller ({packed} packed); ask for less, or "
        "free more channels (pfir inspect shows what is pinned)"
    )
