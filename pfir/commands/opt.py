"""`pfir opt`: passes applied to a model, its interface as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pfir.compile.calibration.generated_inputs import GeneratedInputs
from pfir.compile.calibration.opened_data import open_given
from pfir.compile.selection.search_context import BATCH
from pfir.compile.training.gradients import LossGradients
from pfir.compile.training.learning import Learning
from pfir.compile.workspace import check_file
from pfir.errors import FrontendError, UsageError, VerifyError
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.spec import parse
from pfir.run.activations import activations
from pfir.run.session import loadable
from pfir.run.trial import LARGE, LATE, check_safe, refusal, trial
from pfir.system.blas import one_blas_thread

MOST_CALIBRATION = 256


@dataclass(frozen=True)
class OptRequest:
    """One call of `pfir opt`; the fields are its options.

    Args:
        input_shapes: Full shapes by input name, where the model does not tell all sizes; they serve the costs that
            passes look at, and the model that is written takes all sizes that it took.
    """

    model: Path
    passes: str
    output: Path
    data: str | None = None
    preprocess: str | None = None
    classes: Path | None = None
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    seed: int = 0
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data is None and (self.preprocess or self.classes):
            name = "preprocess" if self.preprocess else "classes"
            raise UsageError(f"--{name} says how to read data; give it with --data")


@one_blas_thread()
def optimize(request: OptRequest) -> tuple[str, ...]:
    """Apply the passes and write the model; what they say is returned.

    Raises:
        UsageError: The passes cannot be read, or lack a field or data.
        FrontendError: The model cannot be used.
        VerifyError: ONNX Runtime does not open what they make, though it opens what was given; nothing is written.
        Infeasible: A pass finds nothing that it may do.
    """
    chosen = parse(request.passes)
    check_file(request.output)
    model = load(request.model)
    shapes = dict(request.input_shapes)
    if shapes:
        fix_sizes(model, None, shapes)  # a shape that contradicts the model is told before any work
    made = GeneratedInputs(model, shapes, request.seed)
    context = Context(
        keep=request.keep, only=request.only, seed=request.seed, input_shapes=shapes, generated=made.activations
    )
    result, notes = run(chosen, model, _with_data(context, model, request))
    result = result if result.provenance != model.provenance else model  # no pass changed anything that counts
    warnings: list[str] = []
    result.save(request.output, lambda file: warnings.extend(loading_notes(file, model)))
    return (
        *made.notes,
        *notes,
        *warnings,
        f"{request.output}: {len(result.graph.nodes)} nodes, {len(model.graph.nodes)} before",
    )


def loading_notes(written: Path, given: Model) -> tuple[str, ...]:
    """Nothing, or that ONNX Runtime opens the written model as little as the one that was given.

    Raises:
        FrontendError: It opens only the given one, and cannot run it: what failed there is now written down.
        VerifyError: It opens only the given one.
    """
    fault = refusal(written)
    if fault is None:
        return ()
    if fault in (LATE, LARGE):
        return (f"note: whether ONNX Runtime opens this model was not found out: {fault}",)
    before = None if given.source == written.read_bytes() else trial(loadable(given), run=True)
    if before is not None and before.running is not None:
        raise FrontendError(f"{given.name}: the model cannot be run in ONNX Runtime: {before.running}")
    if before is not None and before.opening is None:
        raise VerifyError(f"ONNX Runtime does not open what the passes made, so nothing is written: {fault}")
    return (f"note: ONNX Runtime opens neither this model nor the one that was given: {fault}",)


def _with_data(context: Context, model: Model, request: OptRequest) -> Context:
    """The context with activations and gradients, where there is data to take them on."""
    if request.data is None:
        return context
    check_safe(model)
    sized = fix_sizes(model, None, context.input_shapes) if context.input_shapes else model
    whole, _ = open_given(request.data, sized, request.preprocess, request.classes)
    # A folder of images is in the order of its classes.
    some = np.random.default_rng(context.seed).permutation(len(whole))[:MOST_CALIBRATION]
    dataset = whole.subset(np.sort(some))
    filled = replace(
        context,
        activations=lambda m, names: activations(m, names, dataset, BATCH),
        gradients=LossGradients(model, dataset, MOST_CALIBRATION),
    )
    return Learning(model, dataset, context.seed).given_to(filled, train=True)
