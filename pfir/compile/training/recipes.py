"""Ways to teach a student: by the answers of the original, or by its features before the last pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph, sparse_initializers, trainable_initializers
from pfir.passes.base import Activations
from pfir.passes.distillation.adaptors import with_adaptors
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.passes.distillation.mimic import Mimicry, heads, mimicry

DISTIL, MIR, PRACTISE, CURL, AUTO = "distil", "mir", "practise", "curl", "auto"
RECIPES = (DISTIL, MIR, PRACTISE, CURL)
FEW_SAMPLES, VERY_FEW_SAMPLES = 800, 128
LABEL_WEIGHT = 0.3
RIDGE = 1e-4
"""Of the mean square of a feature, added where features are fitted by least squares."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Lesson:
    """What a student is trained on.

    Args:
        graph: With the loss.
        learnt: The student's initializers by name, from what the training gives.
    """

    graph: TrainingGraph
    learnt: Callable[[Arrays], dict[str, np.ndarray]]


def lesson(
    recipe: str,
    student: Model,
    teacher: Model,
    samples: Samples,
    activations: Activations,
    distillation: DistillationSettings | None = None,
) -> Lesson:
    """A student with its loss, by one of the recipes.

    - `distil`: the answers of the teacher, and labels where there are some.
    - `curl`: as `distil`; what differs is whose answers are followed (`refined.py`).
    - `mir`: the teacher's features before the last pooling; the teacher's head replaces the student's.
    - `practise`: as `mir`, with adaptors beside the branches that went.
    - `auto`: the one that `chosen` names.

    Args:
        student: With BatchNormalization; not changed.
        activations: Of any model, on the calibration data.
        distillation: Of answers and labels, where these are learnt; chosen for the samples where none is given.

    Raises:
        TrainingError: The models have no such features.
        UsageError: No recipe has this name.
    """
    if recipe == AUTO:
        recipe = chosen(student, teacher, samples)
    if recipe in (DISTIL, CURL):
        return Lesson(attach_teacher(student, teacher, distillation or distillation_for(samples)), dict)
    if recipe not in RECIPES:
        raise UsageError(f"recipe is {recipe}; it must be one of {', '.join(RECIPES)}")
    try:
        return _mimicking(recipe, student, teacher, samples, activations)
    except UsageError as error:
        raise TrainingError(str(error)) from error


def chosen(student: Model, teacher: Model, samples: Samples) -> str:
    """The recipe that is used: `mir` with very few given samples, where there are features to mimic, else `distil`.

    A few dozen answers are learnt by heart: ResNet-20 without 40 % of its multiply-accumulates went from 75.6 % to
    56.0 % by those of 45 images, and stayed at 75.0 % by their features (60 steps). The bound is low: with 450 images
    features gave 88.4 % and answers 85.8 %, but on a toy net of random weights features lost.
    """
    if samples.kind != "given" or len(samples.train) >= VERY_FEW_SAMPLES:
        return DISTIL
    if sparse_initializers(student, trainable_initializers(student)):
        return DISTIL  # the original's head would bring its weights back
    try:
        heads(student, teacher)
    except UsageError:
        return DISTIL
    return MIR


def distillation_for(samples: Samples, mixed: bool = False) -> DistillationSettings:
    """What a student learns from them: the teacher's answers, and labels or values where there are some.

    Args:
        mixed: Whether samples are mixed by twos.
    """
    valued = samples.train.targets is not None
    return DistillationSettings(
        teacher_weight=1.0,
        label_weight=LABEL_WEIGHT if samples.labelled else 0.0,
        target_weight=LABEL_WEIGHT if valued else 0.0,
        mixed=mixed,
        frozen_batch_norm=is_few(samples),
    )


def is_few(samples: Samples) -> bool:
    """Whether the samples tell less about the statistics of a layer than the calibration data did."""
    return len(samples.train) < FEW_SAMPLES


def _mimicking(recipe: str, student: Model, teacher: Model, samples: Samples, activations: Activations) -> Lesson:
    start = fitted_features(student, teacher, activations)
    if recipe == MIR:
        mimics = mimicry(student, teacher, start, is_few(samples))
        return Lesson(mimics.graph, mimics.arrays)
    adapted = with_adaptors(student, teacher)
    mimics = mimicry(adapted.model, teacher, start, is_few(samples))
    weights = {name: student.initializers()[name].values for name in adapted.adaptors.values()}
    return Lesson(mimics.graph, lambda learnt: adapted.merged(_complete(mimics, weights, learnt)))


def _complete(mimics: Mimicry, weights: Arrays, learnt: Arrays) -> dict[str, np.ndarray]:
    """What was learnt, with the weights beside adaptors that were not."""
    return {**weights, **mimics.arrays(learnt)}


def fitted_features(student: Model, teacher: Model, activations: Activations) -> np.ndarray:
    """The map [C of the teacher, C of the student] by which the student's features are nearest to the teacher's.

    Raises:
        UsageError: One of them has no such features.
    """
    ours, theirs = heads(student, teacher)
    square, product = np.zeros((ours.channels,) * 2), np.zeros((theirs.channels, ours.channels))
    batches = zip(activations(student, [ours.features]), activations(teacher, [theirs.features]), strict=True)
    for mine, other in batches:
        x, y = (_rows(values) for values in (mine[ours.features], other[theirs.features]))
        square, product = square + x.T @ x, product + y.T @ x
    pull = RIDGE * np.trace(square) / len(square)
    return np.linalg.solve(square + pull * np.eye(len(square)), product.T).T.astype(np.float32)


def _rows(features: np.ndarray) -> np.ndarray:
    """[N, C, *k] as [N * positions, C], float64."""
    return np.moveaxis(features, 1, -1).reshape(-1, features.shape[1]).astype(np.float64)
