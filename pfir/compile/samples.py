"""Which samples serve what: training, calibration, ranking candidates, and the figures of the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.artifact import TensorSpec
from pfir.compile.request import Request
from pfir.data import open_data, parse_preprocess, split
from pfir.data.base import Dataset
from pfir.data.generated import generated
from pfir.errors import DataError

VALIDATION_SHARE = 0.1
MOST_VALIDATION = 5000
MOST_CALIBRATION = 256
MOST_SCORING = 1024
GENERATED = 2048


@dataclass(frozen=True)
class Samples:
    """Parts of the data. `validation` shares no sample with the others; calibration and scoring lie within `train`.

    Args:
        train: Fine-tuning.
        calibration: Statistics of activations.
        scoring: Ranks candidates, against the original.
        validation: The report's accuracy and fidelity.
        notes: What a user should know of how they were chosen.
    """

    train: Dataset
    calibration: Dataset
    scoring: Dataset
    validation: Dataset
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`given` or `generated`."""
        return self.train.kind

    @property
    def labelled(self) -> bool:
        return self.train.labels is not None


def open_samples(request: Request, inputs: tuple[TensorSpec, ...]) -> Samples:
    """The user's data, split; generated inputs where there are none.

    Raises:
        DataError: The data cannot be read, does not fit the model, or is too little.
    """
    if request.data is None:
        return _without_data(inputs, request.seed)
    preprocess = None if request.preprocess is None else parse_preprocess(request.preprocess)
    given = open_data(request.data, inputs, preprocess)
    if request.validation is not None:
        validation = open_data(request.validation, inputs, preprocess)
        return _parts(given, validation, request.seed, ())
    if len(given) < 2:
        raise DataError(f"{request.data} holds {len(given)} sample; at least 2 are needed, one to measure with")
    share = min(VALIDATION_SHARE, MOST_VALIDATION / len(given))
    train, validation = split(given, share, request.seed)
    note = (
        f"{len(validation)} of the {len(given)} samples of --data measure the result and train nothing; if the given "
        "model was trained on them the drop may flatter (--validation takes data that it has not seen)."
    )
    return _parts(train, validation, request.seed, (note,))


def _without_data(inputs: tuple[TensorSpec, ...], seed: int) -> Samples:
    train = generated(inputs, GENERATED, seed)
    note = "No data was given: no accuracy was measured, and fidelity is to the original on generated inputs."
    return _parts(train, generated(inputs, MOST_CALIBRATION, seed + 1), seed, (note,))


def _parts(train: Dataset, validation: Dataset, seed: int, notes: tuple[str, ...]) -> Samples:
    order = np.random.default_rng(seed).permutation(len(train))
    notes = (*getattr(train, "notes", ()), *notes)
    return Samples(
        train, train.subset(order[:MOST_CALIBRATION]), train.subset(order[-MOST_SCORING:]), validation, notes
    )
