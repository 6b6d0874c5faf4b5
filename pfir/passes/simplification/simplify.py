"""Simplification: everything that can be said in fewer nodes without changing function or interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import onnx_graphsurgeon as gs

from pfir.ir.constants.fold import Growth, constants_to_initializers, fold_constants, fold_shapes
from pfir.ir.edit import remove_dead
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Change, Context, Pass
from pfir.passes.simplification.cancel_transposes import cancel_transposes
from pfir.passes.simplification.inline_functions import InlineFunctions
from pfir.passes.simplification.merge_pads import merge_pads
from pfir.passes.simplification.remove_no_ops import join_dense, join_reshapes, remove_no_ops

_ROUNDS = 20


@dataclass(frozen=True)
class Simplify(Pass):
    """Fold constants and shape arithmetic, remove what does nothing, merge pads, cancel transposes, drop dead nodes.

    Local functions are inlined first, so that all this reaches into them.

    Outputs are the same up to float rounding; the interface, dynamic sizes included, is the same. Equal initializers
    are not merged: training would tie them.
    """

    name: ClassVar[str] = "simplify"
    settled: ClassVar[bool] = False

    def apply(self, model: Model, context: Context) -> Change:
        inlined = InlineFunctions().apply(model, context)
        counts = dict.fromkeys(_STEPS, 0)
        steps = _STEPS | {_FOLDED: partial(fold_constants, growth=Growth(model.graph))}
        for _ in range(_ROUNDS):
            if not _round(model, steps, counts):
                break
        infer_shapes(model)
        notes = tuple(f"{text}: {counts[text]}" for text in _STEPS if counts[text])
        return Change(inlined.changed or bool(notes), (*inlined.notes, *notes))


def _round(model: Model, steps: Mapping[str, Callable[[gs.Graph], int]], counts: dict[str, int]) -> int:
    total = 0
    infer_shapes(model)
    for text, step in steps.items():
        done = step(model.graph)
        counts[text] += done
        total += done
        if done and step is not constants_to_initializers:
            infer_shapes(model)
    return total


def _cancel(graph: gs.Graph) -> int:
    return cancel_transposes(graph)


_FOLDED = "constant expressions folded"
_STEPS: dict[str, Callable[[gs.Graph], int]] = {
    "constant nodes made initializers": constants_to_initializers,
    "shape computations folded": fold_shapes,
    _FOLDED: fold_constants,
    "nodes that do nothing removed": remove_no_ops,
    "reshapes joined": join_reshapes,
    "pads merged into their readers": merge_pads,
    "matrix products joined with their bias": join_dense,
    "transposes cancelled": _cancel,
    "dead nodes removed": remove_dead,
}
