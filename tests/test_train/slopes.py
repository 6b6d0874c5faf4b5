"""What training computes, held against what inference tells."""

from __future__ import annotations

import numpy as np

from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.canonical.batch import with_batch
from pfir.train.canonical.canonicalize import canonicalize
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.session import TrainSession
from tests.support.net import normal
from tests.support.runs import run


def canonical_output(model: Model, image: np.ndarray) -> np.ndarray:
    sized = with_batch(model, {"image": image.shape})
    return run(canonicalize(sized, ("weight", "bias")).model, {"image": image})[0]


def slope_error(model: Model, image: np.ndarray, settings=None, engine: str = AUTO_ENGINE) -> float:
    """How far the gradient is from a central difference along its own direction, as a share of it."""
    target = run(model, {"image": image})
    graph = attach_teacher(model, model, settings or DistillationSettings(teacher_weight=1.0))
    feeds = {"image": image}
    for i, taken in enumerate(graph.teacher_inputs.values()):
        feeds[taken] = target[i] + normal(*target[i].shape, seed=9)
    session = TrainSession(graph, {n: x.shape[1:] for n, x in feeds.items()}, len(image), engine=engine)
    session.step(feeds)
    gradient = session.gradients.flat.copy()
    direction = gradient / np.linalg.norm(gradient)
    start, width = session.parameters.flat.copy(), 3e-4
    losses = []
    for sign in (1, -1):
        session.parameters.flat[:] = start + sign * width * direction
        losses.append(session.step(feeds).loss)
    return abs((losses[0] - losses[1]) / (2 * width) / np.linalg.norm(gradient) - 1)
