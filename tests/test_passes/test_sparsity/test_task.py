"""A task: errors are those of the outputs, relative to them."""

import numpy as np

from pfir.passes.sparsity.task import Task
from tests.test_passes.test_sparsity.tasks import tasks


def test_the_error_of_no_weight_is_one_and_of_the_weight_itself_none():
    for task in tasks():
        assert task.error(task.layer.weight) == 0
        assert np.isclose(task.error(np.zeros_like(task.layer.weight)), 1)


def test_without_moments_all_features_count_alike():
    task = tasks()[0]
    blind = Task(task.layer, task.pattern)
    half = task.masked(np.arange(task.layer.rows.size).reshape(task.layer.rows.shape) % 2 == 0)
    assert np.isclose(blind.error(half), 1 - np.square(half).sum() / np.square(task.layer.weight).sum())


def test_a_weight_of_zeros_has_no_error():
    task = tasks()[0]
    task.layer.weight[...] = 0
    assert task.error(task.layer.weight) == 0
