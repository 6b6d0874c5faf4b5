"""`pfir evaluate`: accuracy of a model on labelled data, fidelity to another model."""

from __future__ import annotations

from pathlib import Path

from pfir.compile.calibration.opened_data import open_given
from pfir.compile.calibration.sanity import MOST_SAMPLES, doubt
from pfir.frontends import load
from pfir.names import visible
from pfir.run.evaluate import evaluate
from pfir.run.trial import check_safe
from pfir.system.host_cpu import usable_cores

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
    dataset, said = open_given(data, model, preprocess, classes)
    original = load(reference) if reference else None
    for each in (model, original) if original else (model,):
        check_safe(each)
    threads = jobs or usable_cores()
    scores = evaluate(model, dataset, original, threads, BATCH)
    against = doubt(original or model, (dataset,), MOST_SAMPLES, threads=threads)
    found = {
        "model": str(path),
        "data": data,
        "samples": scores.samples,
        "accuracy": scores.accuracy,
        "cross_entropy": scores.cross_entropy,
        "notes": [*dataset.notes, *said],
        "warnings": [f"{data}: {against}"] if against else [],
    }
    return found | ({"reference": str(reference), "fidelity": scores.fidelity} if reference else {})


def summary(found: dict[str, object]) -> str:
    """Notes and warnings, then the figures in one line."""
    parts = [f"{found['samples']} samples"]
    if found["accuracy"] is not None:
        parts.append(f"accuracy {100 * found['accuracy']:.2f} %, cross-entropy {found['cross_entropy']:.4f}")
    if found.get("fidelity") is not None:
        parts.append(f"fidelity {found['fidelity']:.4f}")
    if len(parts) == 1:
        parts.append("no accuracy (--reference ORIGINAL.onnx gives the fidelity)")
    said = [f"{kind}: {visible(text)}" for kind in ("note", "warning") for text in found[f"{kind}s"]]
    return "\n".join([*said, ", ".join(parts)])
