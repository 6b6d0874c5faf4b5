"""Passes one after the other, the model verified after each."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.errors import PfirError
from pfir.ir.checking.verify import verify_model
from pfir.ir.constants.settle import settle_constants
from pfir.ir.model import Model
from pfir.passes.base import Change, Context, Pass
from pfir.passes.spec import format_pass


def run(passes: Sequence[Pass], model: Model, context: Context) -> tuple[Model, tuple[str, ...]]:
    """Apply passes in order to a copy of a model: the copy, and what they noted; the given model is not changed.

    The text of each pass that changed something is added to the provenance. Errors keep their type; which pass they
    come from is added to their text.

    Raises:
        VerifyError: A pass left the model invalid.
    """
    model = model.clone()
    notes: list[str] = []
    for each in passes:
        if each.settled:
            settle_constants(model)
        change = _apply(each, model, context)
        if change.changed:
            model.record(format_pass(each))
        notes += [f"{each.name}: {note}" for note in change.notes]
    return model, tuple(notes)


def _apply(each: Pass, model: Model, context: Context) -> Change:
    try:
        change = each.apply(model, context)
        if change.changed:
            verify_model(model, quick=True)
    except PfirError as error:
        raise type(error)(f"pass {each.name}: {error}") from error
    except Exception as error:
        _add_note(error, f"in pass {format_pass(each)}")
        raise
    return change


def _add_note(error: Exception, note: str) -> None:
    """Add a note as BaseException.add_note does, which came with Python 3.11."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    elif error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} ({note})", *error.args[1:])
