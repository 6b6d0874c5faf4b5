"""Gradients for criteria: with labels and without, for classifiers and for others; what does nothing ranks last."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.compile.training.gradients import LossGradients
from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups
from pfir.passes.base import Context
from pfir.passes.pruning.criteria import scores
from tests.support.calibration import samples
from tests.support.samples import Samples
from tests.support.small_nets import after_conv, residual, two_convolutions


def _gradients(model, labels=None, count=48):
    return LossGradients(model, Samples(samples(model, count), labels), 256)


def _with_dead_channel(model, tensor, axis):
    """The consumers' weights of channel 2 are zero, so nothing that makes it matters to first order."""
    array = model.initializers()[tensor].values.copy()
    np.moveaxis(array, axis, 0)[2] = 0
    model.set_arrays({tensor: array})
    return model


@pytest.mark.parametrize("labels", [None, np.arange(48) % 4])
def test_a_classifier_has_gradients_with_labels_and_without(labels):
    model = _with_dead_channel(residual(), "w2", 1)
    found = _gradients(model, labels)(model, ["w1", "w2", "b3"])
    assert set(found) == {"w1", "w2", "b3"}
    assert np.abs(found["w2"]).max() > 1e-4
    assert not found["w1"][2].any()


@pytest.mark.parametrize("criterion", ["taylor", "group-taylor"])
def test_a_channel_that_nobody_reads_scores_nothing(criterion):
    model = _with_dead_channel(residual(), "w2", 1)
    found = scores(model, channel_groups(model), criterion, Context(gradients=_gradients(model)))["inner"]
    assert found[2] == 0 and (np.delete(found, 2) > 0).all()


def test_a_model_with_maps_for_outputs_has_gradients_too():
    model = _with_dead_channel(two_convolutions(), "w2", 1)
    found = _gradients(model)(model, ["w1", "w2"])
    assert np.abs(found["w2"]).max() > 1e-4 and not found["w1"][2].any()


def test_fewer_samples_than_a_batch_are_enough():
    model = residual()
    assert np.isfinite(_gradients(model, count=3)(model, ["w1"])["w1"]).all()


def test_a_model_that_cannot_be_differentiated_is_refused_with_the_node():
    model = after_conv("Floor")
    asked = LossGradients(model, Samples(samples(model)), 256)
    with pytest.raises(UsageError, match=r"node op \(Floor\) cannot be trained.*choose another criterion"):
        asked(model, ["weight"])
