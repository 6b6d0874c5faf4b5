"""The teacher's outputs: what its model says, each computed once where samples repeat."""

import numpy as np

from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.run.session import Session
from pfir.train.feeding import teacher
from pfir.train.feeding.teacher import Remembered, Teacher
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


def test_what_is_known_is_not_computed_again():
    class Counting:
        calls = 0

        def outputs(self, arrays):
            self.calls += 1
            return {"t": arrays["image"][:, 0, 0, :2]}

    data, counting = kinds_of_images(8), Counting()
    remembered = Remembered(counting, 8)
    for indices in (np.arange(4), np.arange(2, 8), np.array([7, 0, 3])):
        arrays = data.batch(indices)
        np.testing.assert_array_equal(remembered.outputs(indices, 0, arrays)["t"], arrays["image"][:, 0, 0, :2])
    assert counting.calls == 2
    remembered.outputs(np.arange(4), 1, data.batch(np.arange(4)))
    assert counting.calls == 3


def test_what_is_too_large_is_asked_for_every_time(monkeypatch):
    asked = []

    class Listing:
        def outputs(self, arrays):
            asked.append(len(arrays["image"]))
            return {"t": arrays["image"]}

    data = kinds_of_images(8)
    monkeypatch.setattr(teacher, "MOST_KEPT_BYTES", 8 * data.batch(np.arange(1))["image"].nbytes)
    remembered = Remembered(Listing(), 8)
    for view in (0, 1, 0, 1):
        remembered.outputs(np.arange(8), view, data.batch(np.arange(8)))
    assert len(asked) == 3
