"""`pfir opt`: passes applied to a model, its interface as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pfir.compile.gradients import LossGradients
from pfir.compile.learning import Learning
from pfir.compile.searching import BATCH
from pfir.data import open_data, parse_preprocess
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.spec import parse
from pfir.run.activations import activations
from pfir.run.classify import class_count

MOST_CALIBRATION = 256


def optimize(
    path: Path,
    passes: str,
    output: Path,
    data: str | None,
    preprocess: str | None,
    keep: tuple[str, ...],
    only: tuple[str, ...],
    seed: int,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> tuple[str, ...]:
    """Apply the passes and write the model; what they say is returned.

    Args:
        input_shapes: Full shapes by input name, where the model does not tell all sizes; they serve the costs that
            passes look at, and the model that is written takes all sizes that it took.

    Raises:
        UsageError: The passes cannot be read, or lack a field or data.
        FrontendError: The model cannot be used.
        Infeasible: A pass finds nothing that it may do.
    """
    chosen = parse(passes)
    model = load(path)
    shapes = dict(input_shapes or {})
    if shapes:
        fix_sizes(model, 1, shapes)  # a shape that contradicts the model is told before any work
    context = _with_data(Context(keep=keep, only=only, seed=seed, input_shapes=shapes), model, data, preprocess)
    result, notes = run(chosen, model, context)
    result = result if result.provenance != model.provenance else model  # no pass changed anything that counts
    result.save(output)
    return (*notes, f"{output}: {len(result.graph.nodes)} nodes, {len(model.graph.nodes)} before")


def _with_data(context: Context, model: Model, data: str | None, preprocess: str | None) -> Context:
    """The context with activations and gradients, where there is data to take them on."""
    if data is None:
        return context
    read = None if preprocess is None else parse_preprocess(preprocess)
    sized = fix_sizes(model, 1, context.input_shapes) if context.input_shapes else model
    whole = open_data(data, sized.inputs(), read, class_count(sized.outputs()))
    # A folder of images is in the order of its classes.
    some = np.random.default_rng(context.seed).permutation(len(whole))[:MOST_CALIBRATION]
    dataset = whole.subset(np.sort(some))
    filled = replace(
        context,
        activations=lambda m, names: activations(m, names, dataset, BATCH),
        gradients=LossGradients(model, dataset, MOST_CALIBRATION),
    )
    return Learning(model, dataset, context.seed).given_to(filled, train=True)
