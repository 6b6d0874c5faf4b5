"""Loss gradients of a training graph's weights, averaged over data, without training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

import numpy as np

from pfir.errors import DataError
from pfir.ir.training import TrainingGraph, trainable_initializers
from pfir.train.canonical.batch import check_inputs
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.session import TrainSession

Arrays = dict[str, np.ndarray]


def mean_gradients(graph: TrainingGraph, batches: Iterable[Arrays], jobs: int = 1, engine: str = AUTO_ENGINE) -> Arrays:
    """By name of the trainable initializer, in its shape; BatchNormalization acts as in inference.

    Args:
        graph: Not changed.
        batches: Feeds of every input of the graph's model, each [batch, ...] with the same batch.
        jobs: Threads.
        engine: What differentiates.

    Raises:
        TrainingError: An operator on the way to the loss has no gradient.
        DataError: There are no batches.
    """
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise DataError("gradients are means over samples, and there are no samples; give at least one")
    check_inputs(graph.model, first)
    size = len(next(iter(first.values())))
    whole = differentiable_as_a_whole(replace(graph, frozen_batch_norm=True))
    session = TrainSession(whole, _shapes(first), size, jobs, engine)
    try:
        total, count = np.zeros(session.gradients.flat.size), 0
        for feeds in chain((first,), batches):
            session.step(feeds)
            total += session.gradients.flat
            count += 1
        session.gradients.flat[:] = total / count
        return {name: view.copy() for name, view in session.gradients.views.items() if name in graph.trainable}
    finally:
        session.close()


def differentiable_as_a_whole(graph: TrainingGraph) -> TrainingGraph:
    """The graph with all its weights trainable if it has a Concat.

    ONNX Runtime's gradient builder fails where something that learns nothing goes into two Concats that something else
    learns through.
    """
    if not any(node.op == "Concat" for node in graph.model.graph.nodes):
        return graph
    return replace(graph, trainable=tuple(dict.fromkeys((*graph.trainable, *trainable_initializers(graph.model)))))


def _shapes(feeds: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: x.shape[1:] for name, x in feeds.items()}
