"""One step of a training graph by each engine, side by side."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.session import Session
from pfir.train.engines.choice import ORT, TORCH, ort_trains
from pfir.train.session import TrainSession
from tests.support.net import normal

TOLERANCE = 1e-4
"""Of the largest gradient: sums of float32 in another order."""


def need_both() -> None:
    """Skip the calling module unless both engines are here."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")
    if not ort_trains():
        pytest.skip("onnxruntime-training is not installed", allow_module_level=True)


def towards_noise(model: Model, feeds: dict[str, np.ndarray]) -> tuple[TrainingGraph, dict[str, np.ndarray]]:
    """The squared distance of the model's outputs from what they are, moved at random; its feeds."""
    graph = attach_teacher(model, model, DistillationSettings(teacher_weight=1.0))
    assert graph.teacher is not None
    found = Session(graph.teacher).predict(feeds)
    taught = {ours: found[n] + normal(*found[n].shape, seed=9) for n, ours in graph.teacher_inputs.items()}
    return graph, {**feeds, **taught}


def assert_alike(
    graph: TrainingGraph, feeds: dict[str, np.ndarray], jobs: int = 1, tolerance: float = TOLERANCE
) -> None:
    """Loss, metrics, gradients and running statistics of one step are the same by both engines.

    Args:
        tolerance: Share of the largest gradient by which one may differ.
    """
    ort, torch = (_stepped(graph, feeds, jobs, engine) for engine in (ORT, TORCH))
    assert ort.parameters.views.keys() == torch.parameters.views.keys()
    assert ort.scalars == torch.scalars and ort.shard == torch.shard
    np.testing.assert_allclose(torch.last, ort.last, rtol=1e-4, atol=1e-6)
    largest = np.abs(ort.gradients.flat).max()
    assert largest > 0
    for name, expected in ort.gradients.views.items():
        np.testing.assert_allclose(torch.gradients.views[name], expected, atol=tolerance * largest, err_msg=name)
    for name, expected in ort.statistics.views.items():
        np.testing.assert_allclose(torch.statistics.views[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def _stepped(graph: TrainingGraph, feeds: dict[str, np.ndarray], jobs: int, engine: str) -> TrainSession:
    shapes = {name: x.shape[1:] for name, x in feeds.items()}
    session = TrainSession(graph, shapes, len(next(iter(feeds.values()))), jobs, engine)
    session.last = session.step(feeds).scalars
    session.close()
    return session
