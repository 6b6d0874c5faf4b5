"""Data of a user opened for a model, and what its labels are good for."""

from __future__ import annotations

from pathlib import Path

from pfir.data import open_data, parse_preprocess
from pfir.data.base import Dataset
from pfir.data.classes import class_names
from pfir.ir.model import Model
from pfir.run.classify import class_count, labels_serve, scores_output


def open_given(
    path: str, model: Model, preprocess: str | None, classes: Path | None
) -> tuple[Dataset, tuple[str, ...]]:
    """The samples, and a sentence on what their labels serve where a user may wonder.

    Labels that fit no output of a model with several are left out, as those of no classifier are.

    Args:
        preprocess: As `--preprocess` writes it.
        classes: The file of `--classes`.

    Raises:
        UsageError: The preprocessing cannot be read.
        DataError: The data cannot be read or does not suit the model.
    """
    outputs = model.outputs()
    count, several = class_count(outputs), len(outputs) > 1
    read = None if preprocess is None else parse_preprocess(preprocess)
    names = None if classes is None else class_names(classes)
    values = outputs[0].shape[1:] if not several and outputs[0].dtype == "float32" else None
    found = open_data(path, model.inputs(), read, None if several else count, names, values)
    if found.labels is None:
        return found, ()
    if several and count is not None and found.labels.max() >= count:
        output = scores_output(outputs)
        reason = f"label {found.labels.max()} is no class of its output {output.name}, which has {count}"
        return found.without_labels(), (f"{path}: the labels serve nothing: {reason}.",)
    said = labels_serve(outputs)
    return found, (f"{path}: {said}.",) if said else ()
