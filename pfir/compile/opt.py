"""`pfir opt`: passes applied to a model, its interface as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pfir.compile.gradients import LossGradients
from pfir.compile.learning import Learning
from pfir.compile.searching import BATCH
from pfir.compile.workspace import check_file
from pfir.data import open_data, parse_preprocess
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.model import Model
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
) -> tuple[str, ...]:
    """Apply the passes and write the model; what they say is returned.

    Raises:
        UsageError: The passes cannot be read, or lack a field or data.
        FrontendError: The model cannot be used.
        Infeasible: A pass finds nothing that it may do.
    """
    chosen = parse(passes)
    check_file(output)
    if preprocess is not None and data is None:
        raise UsageError("--preprocess says how images of --data become inputs; give --data, or leave it out")
    model = load(path)
    context = _with_data(Context(keep=keep, only=only, seed=seed), model, data, preprocess)
    result, notes = run(chosen, model, context)
    result.save(output)
    return (*notes, f"{output}: {len(result.graph.nodes)} nodes, {len(model.graph.nodes)} before")


def _with_data(context: Context, model: Model, data: str | None, preprocess: str | None) -> Context:
    """The context with activations and gradients, where there is data to take them on."""
    if data is None:
        return context
    read = None if preprocess is None else parse_preprocess(preprocess)
    whole = open_data(data, model.inputs(), read, class_count(model.outputs()))
    # A folder of images is in the order of its classes.
    some = np.random.default_rng(context.seed).permutation(len(whole))[:MOST_CALIBRATION]
    dataset = whole.subset(np.sort(some))
    filled = replace(
        context,
        activations=lambda m, names: activations(m, names, dataset, BATCH),
        gradients=LossGradients(model, dataset, MOST_CALIBRATION),
    )
    return Learning(model, dataset, context.seed).given_to(filled, train=True)
