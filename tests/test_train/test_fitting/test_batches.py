"""A step of several batches is a step of one that holds them all."""

import numpy as np
import pytest

from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.fitting.batches import mean_step
from pfir.train.session import TrainSession
from tests.support.net import normal
from tests.support.small_nets import classifier


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_mean_of_batches_is_the_gradient_of_all_their_samples(parts):
    graph = attach_teacher(classifier(), None, DistillationSettings(label_weight=1.0, frozen_batch_norm=True))
    feeds = {"image": normal(16, 3, 8, 8), graph.labels: np.arange(16) % 5}
    shapes = {name: x.shape[1:] for name, x in feeds.items()}
    whole, cut = (TrainSession(graph, shapes, size) for size in (16, 16 // parts))
    expected, scalars = whole.step(feeds).scalars, mean_step(cut, feeds, parts)
    np.testing.assert_allclose(scalars, expected, rtol=1e-6)
    np.testing.assert_allclose(cut.gradients.flat, whole.gradients.flat, rtol=1e-5, atol=1e-7)
    whole.close()
    cut.close()
