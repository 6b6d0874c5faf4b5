"""The teacher on the backend's kernels: the same answers, where that pays."""

from dataclasses import replace

import numpy as np
import pytest

from pfir.backends import open_backend
from pfir.compile.training import compiled_teacher as module
from pfir.compile.training.compiled_teacher import CompiledTeacher, answered, answering
from pfir.errors import CompileError
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.run.session import Session
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier, dense_layers

TEACHER = classifier(seed=1, norm=False)
FAST = Settings(epochs=2, batch=16, jobs=1)
MANY = 10**12


@pytest.fixture(scope="module")
def backend():
    return open_backend("tvm")


def test_the_answers_are_the_models_for_any_number_of_samples(backend):
    session = Session(TEACHER)
    with CompiledTeacher(backend, jobs=2)(TEACHER, MANY, FAST) as answers:
        for count in (1, 2, 7):
            images = kinds_of_images(8).batch(np.arange(count))
            right = session.predict(images)["logits"]
            np.testing.assert_allclose(answers(images)["logits"], right, rtol=1e-4, atol=1e-5)


def test_a_student_learns_the_same_from_them(backend):
    graph, data = attach_teacher(classifier(), TEACHER), kinds_of_images(48)
    with CompiledTeacher(backend, jobs=1)(TEACHER, MANY, FAST) as answers:
        result = fit(graph, data, FAST, answers=answers)
    plain = fit(graph, data, FAST)
    assert result.notes == () and result.curve[-1]["loss"] == pytest.approx(plain.curve[-1]["loss"], rel=1e-3)


def _answers(backend, samples=MANY, settings=FAST, teacher=TEACHER):
    with CompiledTeacher(backend, jobs=1)(teacher, samples, settings) as answers:
        return answers


def test_a_short_training_does_without(backend, monkeypatch):
    monkeypatch.setattr(type(backend), "build", None)
    assert _answers(backend, samples=1000) is None
    assert _answers(backend, settings=replace(FAST, time_budget_s=0.1)) is None


def test_a_teacher_without_such_convolutions_stays_with_onnxruntime(backend, monkeypatch):
    monkeypatch.setattr(type(backend), "build", None)
    assert _answers(backend, teacher=dense_layers()) is None


def test_a_backend_that_is_onnxruntime_or_refuses_leaves_the_teacher_to_it(backend, monkeypatch):
    def refuse(*_):
        raise CompileError("no")

    assert _answers(open_backend("ort")) is None
    monkeypatch.setattr(type(backend), "build", refuse)
    assert _answers(backend) is None


def test_a_teacher_of_a_fixed_batch_stays_with_onnxruntime(backend):
    assert _answers(backend, teacher=module.fix_sizes(TEACHER, 4)) is None


def test_answers_are_asked_for_as_often_as_there_are_views():
    assert answered(10, replace(FAST, epochs=50)) == 10
    assert answered(10, replace(FAST, epochs=50, augment="flip-crop")) == 80
    assert answered(10, replace(FAST, epochs=50, renew=True)) == 500


def test_without_a_compiler_the_teacher_is_onnxruntimes():
    graph = attach_teacher(classifier(), TEACHER)
    with answering(None, graph, 10**9, FAST) as answers:
        assert answers is None
