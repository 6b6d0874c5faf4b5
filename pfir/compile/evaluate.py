"""`pfir evaluate`: accuracy of a model on labelled data, fidelity to another model."""

from __future__ import annotations

from pathlib import Path

from pfir.data import open_data, parse_preprocess
from pfir.frontends import load
from pfir.host_cpu import usable_cores
from pfir.run.classify import class_count
from pfir.run.evaluate import evaluate
from pfir.run.trial import check_safe

BATCH = 100


def evaluate_file(
    path: Path, data: str, preprocess: str | None, reference: Path | None, jobs: int | None
) -> dict[str, object]:
    """What one pass over the data tells of a model file.

    Raises:
        FrontendError: A model cannot be used.
        DataError: The data does not fit the model.
    """
    model = load(path)
    read = None if preprocess is None else parse_preprocess(preprocess)
    dataset = open_data(data, model.inputs(), read, class_count(model.outputs()))
    original = load(reference) if reference else None
    for each in (model, original) if original else (model,):
        check_safe(each)
    scores = evaluate(model, dataset, original, jobs or usable_cores(), BATCH)
    found = {
        "model": str(path),
        "data": data,
        "samples": scores.samples,
        "accuracy": scores.accuracy,
        "cross_entropy": scores.cross_entropy,
    }
    return found | ({"reference": str(reference), "fidelity": scores.fidelity} if reference else {})


def summary(found: dict[str, object]) -> str:
    """The figures in one line."""
    parts = [f"{found['samples']} samples"]
    if found["accuracy"] is not None:
        parts.append(f"accuracy {100 * found['accuracy']:.2f} %, cross-entropy {found['cross_entropy']:.4f}")
    if found.get("fidelity") is not None:
        parts.append(f"fidelity {found['fidelity']:.4f}")
    if len(parts) == 1:
        parts.append("no labels, so no accuracy (--reference ORIGINAL.onnx gives the fidelity)")
    return ", ".join(parts)
