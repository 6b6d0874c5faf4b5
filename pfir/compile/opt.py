"""`pfir opt`: passes applied to a model, its interface as it was."""

from __future__ import annotations

from pathlib import Path

from pfir.compile.searching import BATCH
from pfir.data import open_data, parse_preprocess
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.spec import parse
from pfir.run.activations import activations

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
    model = load(path)
    context = Context(_calibration(model, data, preprocess), keep=keep, only=only, seed=seed)
    result, notes = run(chosen, model, context)
    result.save(output)
    return (*notes, f"{output}: {len(result.graph.nodes)} nodes, {len(model.graph.nodes)} before")


def _calibration(model: Model, data: str | None, preprocess: str | None):
    if data is None:
        return None
    dataset = open_data(data, model.inputs(), None if preprocess is None else parse_preprocess(preprocess))
    return lambda m, names: activations(m, names, dataset, BATCH, MOST_CALIBRATION)
