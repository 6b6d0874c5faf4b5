"""Calls of local functions replaced by what they stand for, so that the other passes see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pfir.ir.functions import inline_functions
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Change, Context, Pass

LARGEST_BYTES = 2**31 - 2**26
"""The inliner works on one serialised file, which protobuf allows 2 GiB; some of it for all that is no weight."""


@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Replace each call of a local function by the nodes of its body.

    Rewrite::

        y = f(x)  where f(a) = Relu(a) * 2   ->   y = Relu(x) * 2

    A function that is written for another opset than the model stays, as does every one where the weights exceed what a
    single file can hold. The interface and all outputs stay as they are.
    """

    name: ClassVar[str] = "inline-functions"
    settled: ClassVar[bool] = False

    def apply(self, model: Model, context: Context) -> Change:
        called = _functions(model)
        if not called:
            return Change(False)
        if sum(t.values.nbytes for t in model.initializers().values()) > LARGEST_BYTES:
            return Change(False, ("the weights exceed 2 GiB, so local functions stay",))
        plain = inline_functions(model)
        left = _functions(plain)
        notes = (f"not written for the model's opset, so they stay: {', '.join(left)}",) if left else ()
        if left == called:
            return Change(False, notes)
        model.graph, model.header = plain.graph, plain.header
        infer_shapes(model)
        return Change(True, (f"functions inlined: {len(called) - len(left)}", *notes))


def _functions(model: Model) -> list[str]:
    return [] if model.header is None else [f"{f.domain}.{f.name}" for f in model.header.functions]
