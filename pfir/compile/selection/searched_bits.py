"""Bits of weights that join a search: asked for by `--passes`, or where nothing else makes a file small enough."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.methods.few_bits import INTEGER_BITS, FewBits
from pfir.compile.precision.sizes import sizes_of
from pfir.compile.request import AUTO_PRECISION
from pfir.compile.run_context import Chosen
from pfir.compile.selection.delivered import Delivered
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.selection import Selection
from pfir.compile.selection.size_goal import average_bits
from pfir.errors import FrontendError, Infeasible
from pfir.passes.bits.searched import START
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.quantization.ranges import LEAST_SAMPLES

CAREFUL = "compensated"
"""How weights of few bits are rounded where pfir chooses it."""


def joined(selection: Selection, search_context: SearchContext) -> tuple[Selection, SearchContext]:
    """The selection and the context with the bits of weights as a method, where they are to be searched.

    They are where pfir chooses all passes, a goal of size stands beside others, and the model with all its channels is
    not small enough in the precision that was decided; with samples enough to tell what bits are worth.
    """
    if (given := _method(search_context)) is not None:
        return replace(selection, few_bits=given), search_context
    if not _may_join(selection) or _is_small(selection):
        return selection, search_context
    few_bits = _own_method(selection)
    try:
        _delivered(selection, few_bits)(selection.run.models.start, START)
    except (FrontendError, Infeasible) as error:
        selection.run.progress.note(f"no fewer bits: {error}")
        return selection, search_context
    return replace(selection, few_bits=few_bits), search_context.beside(few_bits)


def ranked(selection: Selection, search_context: SearchContext) -> Selection:
    """The selection with what trials on data told the method."""
    return selection if selection.few_bits is None else replace(selection, few_bits=_method(search_context))


def coder_of(selection: Selection, chosen: Chosen) -> QuantizeCodebook | None:
    """The pass that gives a result codebooks of the bits that the search chose; None where it chose none."""
    average, few_bits = average_bits(chosen.found), selection.few_bits
    if few_bits is None or average is None or not isinstance(few_bits.searched, QuantizeCodebook):
        return None
    return replace(few_bits.searched, average_bits=average)


def _may_join(selection: Selection) -> bool:
    request = selection.run.request
    is_free = request.passes is None and request.recipe is None and request.precision == AUTO_PRECISION
    is_weighed = len(selection.run.samples.calibration) >= LEAST_SAMPLES
    return is_free and is_weighed and request.goals.size is not None


def _is_small(selection: Selection) -> bool:
    request = selection.run.request
    model = _delivered(selection, None)(selection.run.models.start)
    return sizes_of(request, model).reach(request.goals.size)


def _own_method(selection: Selection) -> FewBits:
    """What gives fewer bits in the precision that was decided."""
    start, request = selection.run.models.start, selection.run.request
    if selection.quantizing is None or not selection.precision.integers:
        return FewBits(start, QuantizeCodebook(bits=None, rounding=CAREFUL), request.keep, request.only)
    way = replace(selection.quantizing.ways[0], weight_bits=None, rounding=CAREFUL)
    return FewBits(start, way, request.keep, request.only, INTEGER_BITS)


def _delivered(selection: Selection, few_bits: FewBits | None) -> Delivered:
    return Delivered(selection.run, selection.precision, selection.quantizing, few_bits=few_bits)


def _method(search_context: SearchContext) -> FewBits | None:
    return next((method for method in search_context.pricing.methods if isinstance(method, FewBits)), None)
