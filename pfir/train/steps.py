"""A training graph one step at a time, for those who choose values and feeds themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pfir.ir.training import TrainingGraph
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.mean_gradients import differentiable_as_a_whole
from pfir.train.session import TrainSession

Arrays = Mapping[str, np.ndarray]


class Steps:
    """The loss of a training graph and its gradients, for any values of what is trained; nothing is kept but these.

    BatchNormalization acts as in inference.

    Args:
        graph: Its model is fed all that it reads; a teacher is not run.
        feeds: One batch of every input, [batch, ...]; all batches have its sizes.
        jobs: Threads.
        engine: What differentiates.

    Raises:
        TrainingError: An operator on the way to the loss has no gradient.
    """

    def __init__(self, graph: TrainingGraph, feeds: Arrays, jobs: int = 1, engine: str = AUTO_ENGINE) -> None:
        whole = differentiable_as_a_whole(replace(graph, frozen_batch_norm=True))
        shapes = {name: x.shape[1:] for name, x in feeds.items()}
        self._trainable = graph.trainable
        self._session = TrainSession(whole, shapes, len(next(iter(feeds.values()))), jobs, engine)

    def __call__(self, arrays: Arrays, feeds: Arrays) -> tuple[float, dict[str, np.ndarray]]:
        """The loss and the gradient by name on a batch, where the trainable initializers have these values from now on.

        The gradients are overwritten by the next call.
        """
        views = self._session.parameters.views
        for name, array in arrays.items():
            views[name][...] = array
        loss = self._session.step(feeds).loss
        gradients = self._session.gradients.views
        return loss, {name: gradients[name] for name in self._trainable if name in gradients}
