"""What is told of samples held back is what an evaluation of them says, and takes a bounded time."""

import numpy as np
import pytest

from pfir.compile.training import held_back
from pfir.compile.training.held_back import HeldBack
from pfir.run.evaluate import evaluate
from tests.support.samples import kinds_of_images
from tests.support.small_nets import after_conv, classifier

DATA, TEACHER = kinds_of_images(48), classifier()


def learnt(arrays):
    model = TEACHER.clone()
    model.set_arrays(arrays)
    return model


@pytest.fixture
def patient(monkeypatch):
    """Judging may take as long as it likes."""
    monkeypatch.setattr(held_back, "MOST_SHARE", np.inf)


def test_figures_are_those_of_an_evaluation(patient):
    arrays = {"fb": np.linspace(-1, 1, 5).astype(np.float32)}
    judged = HeldBack(DATA, TEACHER, learnt)
    scores = evaluate(learnt(arrays), DATA, TEACHER)
    expected = {"held_back_loss": scores.divergence, "held_back_accuracy": scores.accuracy}
    assert judged(arrays) == pytest.approx(expected)
    assert judged.told.startswith(", held back: loss 0.") and f"accuracy {scores.accuracy:.4g}" in judged.told


def test_without_labels_there_is_fidelity(patient):
    assert HeldBack(DATA.without_labels(), TEACHER, learnt)({}) == {"held_back_loss": 0.0, "held_back_fidelity": 1.0}


def test_of_many_samples_the_first_are_taken(patient, monkeypatch):
    monkeypatch.setattr(held_back, "MOST_SAMPLES", 20)
    arrays = {"fb": np.linspace(-1, 1, 5).astype(np.float32)}
    expected = evaluate(learnt(arrays), DATA.subset(np.arange(20)), TEACHER).divergence
    assert HeldBack(DATA, TEACHER, learnt)(arrays)["held_back_loss"] == pytest.approx(expected)


def test_large_answers_are_kept_for_few_samples(patient, monkeypatch):
    model, data = after_conv("Relu"), kinds_of_images(48, size=6)
    monkeypatch.setattr(held_back, "MOST_ANSWER_BYTES", 3 * 4 * 4 * 6 * 6)
    ran = []

    def counted(arrays):
        ran.append(arrays)
        return model

    judged = HeldBack(data, model, counted)
    assert judged({})["held_back_loss"] == 0.0 and len(ran) == 1
    assert evaluate(model, data.subset(np.arange(3)), judged._reference).samples == 3


def test_epochs_are_left_out_while_judging_takes_too_large_a_share(monkeypatch):
    monkeypatch.setattr(held_back, "MOST_SHARE", 0.0)
    judged = HeldBack(DATA, TEACHER, learnt)
    assert judged({}) and judged({}) == {}
