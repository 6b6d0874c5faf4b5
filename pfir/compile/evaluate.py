"""`pfir evaluate`: accuracy of a model on labelled data, fidelity to another model."""

from __future__ import annotations

from pathlib import Path

from pfir.compile.sanity import MOST_SAMPLES, doubt
from pfir.data import open_data, parse_preprocess
from pfir.data.classes import class_names
from pfir.frontends import load
from pfir.host_cpu import usable_cores
from pfir.names import visible
from pfir.run.classify import class_count, labels_serve
from pfir.run.evaluate import evaluate
from pfir.run.trial import check_safe

BATCH = 100


def evaluate_file(
    path: Path, data: str, preprocess: str | None, reference: Path | None, jobs: int | None, classes: Path | None = None
) -> dict[str, object]:
    """What one pass over the data tells of a model file, with notes on how the data was read and whether it suits.

    Raises:
        FrontendError: A model cannot be used.
        DataError: The data does not fit the model.
    """
    model = load(path)
    read = None if preprocess is None else parse_preprocess(preprocess)
    names = None if classes is None else class_names(classes)
    dataset = open_data(data, model.inputs(), read, class_count(model.outputs()), names)
    original = load(reference) if reference else None
    for each in (model, original) if original else (model,):
        check_safe(each)
    threads = jobs or usable_cores()
    scores = evaluate(model, dataset, original, threads, BATCH)
    against = doubt(original or model, (dataset,), MOST_SAMPLES, threads=threads)
    serve = None if dataset.labels is None else labels_serve(model.outputs())
    found = {
        "model": str(path),
        "data": data,
        "samples": scores.samples,
        "accuracy": scores.accuracy,
        "cross_entropy": scores.cross_entropy,
        "notes": [*dataset.notes, *([serve] if serve else []), *([f"{data}: {against}"] if against else [])],
    }
    return found | ({"reference": str(reference), "fidelity": scores.fidelity} if reference else {})


def summary(found: dict[str, object]) -> str:
    """Notes, then the figures in one line."""
    parts = [f"{found['samples']} samples"]
    if found["accuracy"] is not None:
        parts.append(f"accuracy {100 * found['accuracy']:.2f} %, cross-entropy {found['cross_entropy']:.4f}")
    if found.get("fidelity") is not None:
        parts.append(f"fidelity {found['fidelity']:.4f}")
    if len(parts) == 1:
        parts.append("no accuracy (--reference ORIGINAL.onnx gives the fidelity)")
    return "\n".join([*(f"note: {visible(note)}" for note in found["notes"]), ", ".join(parts)])
