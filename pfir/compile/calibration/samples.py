"""Which samples serve what: training, calibration, ranking candidates, and the figures of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pfir.artifact import whole_inputs
from pfir.compile.calibration.matched_inputs import Matching, Moved
from pfir.compile.calibration.opened_data import open_given
from pfir.compile.calibration.ranges import learn_ranges
from pfir.compile.request import DEFAULT_TIME_BUDGET_S, Request
from pfir.data import split
from pfir.data.base import Dataset
from pfir.data.generated import Range, generated
from pfir.data.kept import MOST_BYTES
from pfir.errors import DataError
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.run.classify import class_count
from pfir.system.host_cpu import usable_cores

VALIDATION_SHARE = 0.1
MOST_VALIDATION = 5000
MOST_CALIBRATION = 256
MOST_SCORING, LEAST_SCORING = 1024, 64
SCORING_MACS = 6e10
SCORING_BYTES = 96e6
"""What scoring one candidate may cost at most: multiply-accumulates, and bytes of inputs."""
SCORING_MACS_A_SECOND, CALIBRATION_MACS_A_SECOND, VALIDATION_MACS_A_SECOND = 1e8, 5e8, 1e9
"""The same for each second of the time budget: shares of 1/100, 1/20 and 1/10 at ten billion a second."""
LEAST_CALIBRATION, LEAST_VALIDATION = 32, 500
JUDGING_SHARE = 0.1
"""Of what could be trained on, at most."""
MOST_GENERATED, LEAST_GENERATED = 2048, 128


@dataclass(frozen=True)
class Samples:
    """Parts of the data. `validation` shares no sample with the others, `judging` none with `train`.

    Args:
        train: What fine-tuning learns from.
        calibration: What statistics of activations are taken on; part of `train`.
        scoring: What candidates are ranked on, against the original; `judging` is the end of it, the rest is part of
            `train`.
        judging: What fine-tuning chooses by; all of `scoring` where there are too few samples to keep some
            back, and samples of its own where they are generated.
        validation: What the report's accuracy and fidelity are measured on.
        notes: What a user should know of how they were chosen.
        unseen: Part of `--validation`, which tells whether training helped; None without it.
    """

    train: Dataset
    calibration: Dataset
    scoring: Dataset
    judging: Dataset
    validation: Dataset
    notes: tuple[str, ...] = ()
    unseen: Dataset | None = None

    @property
    def kind(self) -> str:
        """`given` or `generated`."""
        return self.train.kind

    @property
    def labelled(self) -> bool:
        return self.train.labels is not None


def open_samples(request: Request, model: Model, original: Model) -> Samples:
    """The user's data, split; generated inputs where there are none.

    Args:
        model: What the samples are for, every size fixed.
        original: The same as loaded; its BatchNormalizations know what inputs are like.

    Raises:
        DataError: The data cannot be read, does not fit the model, is too little, or lacks labels that a goal needs.
    """
    if request.data is None:
        return _without_data(model, original, request)
    given, said = _opened(request.data, request, model)
    if request.validation is not None:
        unseen, more = _opened(request.validation, request, model)
        unseen, fewer = _affordable_validation(unseen, request, model)
        parts = _parts(given, unseen, request, model, (*said, *more, *fewer))
        return replace(parts, unseen=_drawn(unseen, affordable(model, request), request.seed))
    if len(given) < 2:
        raise DataError(f"{request.data} holds {len(given)} sample; at least 2 are needed, one to measure with")
    share = min(VALIDATION_SHARE, MOST_VALIDATION / len(given))
    train, validation = split(given, share, request.seed)
    note = (
        f"{len(validation)} of the {len(given)} samples of --data measure the result and train nothing; if the given "
        "model was trained on them the drop may flatter (--validation takes data that it has not seen)."
    )
    return _parts(train, validation, request, model, (*said, note))


def _affordable_validation(data: Dataset, request: Request, model: Model) -> tuple[Dataset, tuple[str, ...]]:
    """The samples that the time budget lets be measured twice, and what to say where they are not all of them."""
    if request.trials is not None and request.epochs is not None:
        return data, ()
    most = max(LEAST_VALIDATION, int(VALIDATION_MACS_A_SECOND * _budget_s(request) / _sample_macs(model)))
    if most >= len(data):
        return data, ()
    note = (
        f"{most} of the {len(data)} samples of --validation, drawn by --seed, measure the result: all of them would "
        "take too much of the time budget (--time-budget)."
    )
    return _drawn(data, most, request.seed), (note,)


def _drawn(data: Dataset, most: int, seed: int) -> Dataset:
    """At most so many of the samples, in their order."""
    return data.subset(np.sort(np.random.default_rng(seed).permutation(len(data))[:most]))


def affordable(model: Model, request: Request) -> int:
    """How many samples a model can be run on for what scoring one candidate may cost."""
    macs = min(SCORING_MACS, SCORING_MACS_A_SECOND * _budget_s(request)) / _sample_macs(model)
    return int(np.clip(min(macs, SCORING_BYTES / _sample_bytes(model)), LEAST_SCORING, MOST_SCORING))


def _opened(path: str, request: Request, model: Model) -> tuple[Dataset, tuple[str, ...]]:
    found, said = open_given(path, model, request.preprocess, request.classes)
    measured = request.validation is None or path == request.validation
    asked = "--max-drop" if request.goals.max_drop is not None else "--metric accuracy"
    if not measured or not _needs_labels(request):
        return found, said
    if found.labels is None and not said:
        raise DataError(f"{path}: has no labels y, and {asked} needs some; add them, or leave {asked} out")
    if class_count(model.outputs()) is None:
        shapes = ", ".join(f"{t.name} {list(t.shape)}" for t in model.outputs())
        raise DataError(f"{asked} needs a classifier, an output [N, K] with K >= 2; {request.model} gives {shapes}")
    if found.labels is None:
        raise DataError(f"{asked} needs labels to compare with: {said[0]}")
    return found, said


def _needs_labels(request: Request) -> bool:
    return request.metric == "accuracy" or (request.goals.max_drop is not None and request.metric == "auto")


def _without_data(model: Model, original: Model, request: Request) -> Samples:
    inputs, seed = model.inputs(), request.seed
    ranges, learned = learn_ranges(original, inputs)
    count = int(np.clip(MOST_BYTES / _sample_bytes(model), LEAST_GENERATED, MOST_GENERATED))
    whole = whole_inputs(original.inputs())
    train = generated(inputs, count, seed, ranges, whole)
    validation = generated(inputs, min(MOST_CALIBRATION, count), seed + 1, ranges, whole)
    note = "No data was given: no accuracy was measured, and fidelity is to the original on generated inputs."
    judging = generated(inputs, min(MOST_CALIBRATION, affordable(model, request), count), seed + 2, ranges, whole)
    parts = replace(_parts(train, validation, request, model, (note, *learned)), judging=judging)
    return _matched(parts, original, ranges, request)


def _matched(parts: Samples, original: Model, ranges: Mapping[str, Range], request: Request) -> Samples:
    """What calibrates matched to the statistics of BatchNormalization, where the original holds any.

    What is trained and judged on stays: it is new in every epoch, and matched inputs are few.
    """
    matching = Matching(fix_sizes(original, request.batch, dict(request.input_shapes)), _budget_s(request))
    matching = replace(matching, jobs=request.jobs or usable_cores(), engine=request.engine)
    (name, *others) = parts.train.inputs
    found = None if others else matching.of(parts.calibration, ranges.get(name, Range()))
    if found is None:
        return parts
    calibration = Moved(name, found, len(parts.calibration), request.seed)
    note = f"{len(found)} generated inputs that calibrate match the statistics of BatchNormalization."
    return replace(parts, calibration=calibration, notes=(*parts.notes, note))


def _parts(train: Dataset, validation: Dataset, request: Request, model: Model, notes: tuple[str, ...]) -> Samples:
    order = np.random.default_rng(request.seed).permutation(len(train))
    told = tuple(dict.fromkeys((*train.notes, *validation.notes, *notes)))  # parts of one data set say the same
    scoring = min(affordable(model, request), len(train) - len(train) // 2)
    calibration = min(_most_calibration(model, request), max(1, len(train) - scoring))  # a single sample serves both
    judging = min(scoring, int(JUDGING_SHARE * len(train)))
    parts = (order[: len(train) - judging], order[:calibration], order[-scoring:], order[-(judging or scoring) :])
    return Samples(*(train.subset(part) for part in parts), validation, told)


def _most_calibration(model: Model, request: Request) -> int:
    """How many samples layers are fitted to and channels are ranked on, at most."""
    count = CALIBRATION_MACS_A_SECOND * _budget_s(request) / _sample_macs(model)
    return int(np.clip(count, LEAST_CALIBRATION, MOST_CALIBRATION))


def _budget_s(request: Request) -> float:
    return request.time_budget_s or DEFAULT_TIME_BUDGET_S


def _sample_macs(model: Model) -> float:
    return max(model_cost(model).macs / _batch(model), 1.0)


def _sample_bytes(model: Model) -> float:
    size = sum(math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in model.inputs())
    return max(size / _batch(model), 1.0)


def _batch(model: Model) -> int:
    first = next((t.shape[0] for t in model.inputs() if t.shape), 1)
    return max(1, int(first))
