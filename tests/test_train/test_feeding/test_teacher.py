"""The teacher's outputs: what its model says, whoever computes it."""

import numpy as np
import pytest

from pfir.errors import RunError
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.run.session import Session
from pfir.train.feeding.teacher import Teacher
from tests.support.samples import kinds_of_images
from tests.support.small_nets import after_conv, classifier


def test_outputs_are_those_of_the_model_for_any_number_of_samples():
    data, model = kinds_of_images(80), classifier(norm=False)
    arrays = data.batch(np.arange(80))
    asked = Teacher(attach_teacher(model, model), jobs=2)
    for _ in range(2):
        got = asked.outputs(arrays)["pfir_loss_teacher_logits"]
        np.testing.assert_allclose(got, Session(model).predict(arrays)["logits"], rtol=1e-4, atol=1e-5)
    asked.close()


def test_the_variance_is_taken_over_samples_at_each_position():
    data, model = kinds_of_images(40, size=6), after_conv("Relu")
    asked = Teacher(attach_teacher(model, model), jobs=1)
    y = Session(model).predict(data.batch(np.arange(40)))["y"]
    np.testing.assert_allclose(asked.variances(data)["pfir_loss_variance_y"], y.var(0).mean(), rtol=1e-4)


class Faster:
    """Computes what a model does, but for a factor; from the second call on it may fail."""

    def __init__(self, model, factor=1.0, fails=False):
        self.session, self.factor, self.fails, self.calls = Session(model), factor, fails, 0

    def __call__(self, arrays):
        self.calls += 1
        if self.fails and self.calls > 1:
            raise RunError("it crashed")
        return {name: y * np.float32(self.factor) for name, y in self.session.predict(arrays).items()}


def _asked(answers, times=3):
    """The teacher after some batches, and its outputs for the last."""
    model, arrays = classifier(norm=False), kinds_of_images(8).batch(np.arange(8))
    asked = Teacher(attach_teacher(model, model), jobs=1, answers=answers)
    found = [asked.outputs(arrays)["pfir_loss_teacher_logits"] for _ in range(times)]
    np.testing.assert_allclose(found[-1], Session(model).predict(arrays)["logits"], rtol=1e-4, atol=1e-5)
    return asked


def test_answers_that_agree_with_onnxruntime_are_taken():
    faster = Faster(classifier(norm=False))
    assert _asked(faster).notes == () and faster.calls == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"factor": 1.001}, "differ by 0.001"),
        ({"factor": np.nan}, "differ by nan"),
        ({"fails": True}, "it crashed"),
    ],
)
def test_answers_that_differ_or_fail_leave_the_teacher_to_onnxruntime(wrong, words):
    faster = Faster(classifier(norm=False), **wrong)
    asked = _asked(faster)
    assert len(asked.notes) == 1 and words in asked.notes[0] and faster.calls <= 2


def test_answers_without_an_output_leave_the_teacher_to_onnxruntime():
    assert "give no logits" in _asked(lambda arrays: {}).notes[0]
