"""Fitting: it learns, repeats itself bit by bit, survives interruptions and divergence, and says how far it is."""

import dataclasses

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.errors import DataError, TrainingError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.evaluate import accuracy
from pfir.train.feeding.mixing import Mixing
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import Samples, kinds_of_images
from tests.support.small_nets import after_conv, classifier

FAST = Settings(epochs=4, batch=32, learning_rate=0.1, jobs=1, clip=None)
LABELS = DistillationSettings(label_weight=1.0)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def learnt(model=None, teacher=None, data=None, settings=FAST, **more):
    graph = attach_teacher(model or classifier(), teacher, LABELS)
    return fit(graph, kinds_of_images() if data is None else data, settings, **more)


def test_a_net_learns_its_labels_from_random_weights():
    model, data = classifier(), kinds_of_images()
    before = accuracy(model, data)
    model.set_arrays(learnt(model, settings=dataclasses.replace(FAST, epochs=60)).arrays)
    assert before < 0.5 < 0.9 < accuracy(model, data)


def test_a_student_comes_closer_to_its_teacher_without_labels():
    graph = attach_teacher(classifier(norm=False), classifier(seed=1, norm=False), DistillationSettings())
    curve = fit(graph, kinds_of_images(labelled=False), FAST).curve
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]


def test_a_net_without_classes_comes_closer_to_its_teacher():
    teacher, student = after_conv("Relu"), after_conv("Relu")
    student.set_arrays({"weight": teacher.initializers()["weight"].values * 0.5})
    curve = fit(attach_teacher(student, teacher), kinds_of_images(size=6), FAST).curve
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"] < 1


def test_statistics_of_batch_norm_are_learnt_too():
    arrays = learnt().arrays
    assert set(arrays) == {"w", "scale", "shift", "fw", "fb", "mean", "var"}
    assert not np.array_equal(arrays["mean"], np.zeros(6))


def test_frozen_statistics_stay():
    settings = dataclasses.replace(LABELS, frozen_batch_norm=True)
    assert "mean" not in fit(attach_teacher(classifier(), None, settings), kinds_of_images(), FAST).arrays


@pytest.mark.parametrize("augment", ["none", "flip-crop"])
def test_the_number_of_threads_changes_no_bit(augment):
    settings = [dataclasses.replace(FAST, batch=64, jobs=j, augment=augment, epochs=2) for j in (1, 2)]
    one, two = (learnt(teacher=classifier(seed=1), settings=s).arrays for s in settings)
    assert same(one, two)


def test_another_seed_gives_other_weights():
    assert not same(learnt().arrays, learnt(settings=dataclasses.replace(FAST, seed=1)).arrays)


def test_a_small_data_set_fills_a_batch():
    assert learnt(data=kinds_of_images(count=7)).curve[-1]["step"] == FAST.epochs


WAYS = {"labels": {}, "renewed": {"renew": True}}


@pytest.mark.parametrize("stop", [3, 7])
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_training_goes_on_with_the_same_bits(tmp_path, stop, way):
    plain = dataclasses.replace(FAST, **WAYS[way])
    settings = dataclasses.replace(plain, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)
    graph = attach_teacher(classifier(), *((None, LABELS) if way == "labels" else (classifier(seed=1),)))

    def trained(settings, tell=None):
        data = (
            generated([TensorSpec("image", "float32", ("N", 3, 8, 8))], 96) if way == "renewed" else kinds_of_images()
        )
        return fit(graph, data, settings, tell)

    def interrupt(progress):
        if progress.step == stop:
            raise KeyboardInterrupt

    expected = trained(plain)
    with pytest.raises(KeyboardInterrupt):
        trained(settings, interrupt)
    steps = []
    resumed = trained(settings, lambda p: steps.append(p.step))
    assert same(resumed.arrays, expected.arrays)
    assert steps[0] == stop
    assert [e["loss"] for e in resumed.curve] == [e["loss"] for e in expected.curve]


def test_a_checkpoint_of_another_training_is_left_aside(tmp_path):
    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz")
    learnt(settings=settings)
    again = learnt(settings=dataclasses.replace(settings, seed=1))
    assert same(again.arrays, learnt(settings=dataclasses.replace(FAST, seed=1)).arrays)


def test_a_checkpoint_of_another_loss_is_left_aside(tmp_path):
    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz")

    def smoothed(smoothing, settings=settings):
        loss = DistillationSettings(label_weight=1.0, label_smoothing=smoothing)
        return fit(attach_teacher(classifier(), None, loss), kinds_of_images(), settings).arrays

    first, second = smoothed(0.0), smoothed(0.3)
    assert not same(first, second) and same(second, smoothed(0.3, FAST))


def test_divergence_goes_back_and_on_with_a_tenth_of_the_rate():
    told = []
    data = _Spoilt(at=4)
    result = learnt(data=data, on_progress=lambda p: told.append(p.note), settings=FAST)
    assert len(result.notes) == 1 and "diverged at step" in result.notes[0]
    assert result.notes[0] in told
    assert len(result.curve) == FAST.epochs
    assert all(np.isfinite(x).all() for x in result.arrays.values())


def test_a_first_epoch_that_wrecks_the_model_is_taken_back():
    model = classifier(norm=False)
    fast = dataclasses.replace(FAST, learning_rate=3.0, warmup_share=0.2)
    result = fit(attach_teacher(model, model), kinds_of_images(256), fast)
    assert len(result.notes) == 1 and "diverged" in result.notes[0]
    assert len(result.curve) == FAST.epochs and all(np.isfinite(e["loss"]) for e in result.curve)


def test_divergence_twice_is_an_error():
    with pytest.raises(TrainingError, match="diverged twice.*give a smaller learning rate"):
        learnt(settings=dataclasses.replace(FAST, learning_rate=1e20))


def test_the_best_epoch_is_returned():
    scores = iter([0.1, 0.9, 0.3, 0.2])
    kept = []

    def evaluate(arrays):
        kept.append(arrays)
        return next(scores)

    result = learnt(evaluate=evaluate)
    assert result.best_epoch == 2 and same(result.arrays, kept[1])
    assert [e["score"] for e in result.curve] == [0.1, 0.9, 0.3, 0.2]


def test_a_spent_time_budget_ends_the_training():
    result = learnt(settings=dataclasses.replace(FAST, epochs=10_000, time_budget_s=0.5))
    assert 1 <= len(result.curve) < 10_000
    assert result.curve[-1]["learning_rate"] < 0.05


def test_progress_counts_to_the_end():
    told = []
    learnt(on_progress=told.append)
    assert [p.step for p in told] == list(range(1, 13)) and told[-1].steps == 12
    assert told[-1].epoch == told[-1].epochs == 4
    assert told[-1].seconds_left == 0 and told[-1].samples_per_s > 0


@pytest.mark.parametrize("kind", ["auto", "l1", "huber", "wing"])
def test_values_of_the_data_are_learnt(kind):
    data = kinds_of_images(labelled=False)
    data.targets = 10 * np.eye(5, dtype=np.float32)[kinds_of_images().labels] + 3
    graph = attach_teacher(classifier(), None, DistillationSettings(target_weight=1.0, loss=kind))
    curve = fit(graph, data, dataclasses.replace(FAST, epochs=12)).curve
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"] and curve[0]["loss"] < 60


def test_missing_values_are_refused():
    graph = attach_teacher(classifier(), None, DistillationSettings(target_weight=1.0))
    with pytest.raises(DataError, match="the loss needs values"):
        fit(graph, kinds_of_images(), FAST)


def test_mixed_samples_are_learnt_and_give_the_same_bits_again():
    settings = DistillationSettings(label_weight=1.0, label_smoothing=0.1, mixed=True)
    graph = attach_teacher(classifier(), classifier(seed=1), settings)
    fast = dataclasses.replace(FAST, epochs=12, mixing=Mixing(0.2, 1.0))
    one, two = (fit(graph, kinds_of_images(), fast) for _ in range(2))
    assert same(one.arrays, two.arrays) and one.curve[-1]["loss"] < 0.9 * one.curve[0]["loss"]


def test_what_is_watched_stands_in_the_curve():
    seen = []

    def watch(arrays):
        seen.append(arrays)
        return {"held_back_loss": float(len(seen))}

    watched = learnt(watch=watch)
    assert [e["held_back_loss"] for e in watched.curve] == [1, 2, 3, 4]
    assert same(seen[-1], watched.arrays) and same(watched.arrays, learnt().arrays)


def test_missing_labels_are_refused():
    with pytest.raises(DataError, match="the loss needs labels"):
        learnt(data=kinds_of_images(labelled=False))


def test_empty_data_is_refused():
    with pytest.raises(DataError, match="no samples"):
        learnt(data=kinds_of_images(count=0))


class _Spoilt(Samples):
    """One batch holds a NaN, once."""

    def __init__(self, at):
        data = kinds_of_images()
        super().__init__(data.batch(np.arange(len(data))), data.labels)
        self._left = at + 1  # one more batch is read for its shapes

    def batch(self, indices):
        self._left -= 1
        arrays = super().batch(indices)
        if self._left == 0:
            arrays["image"] = np.full_like(arrays["image"], np.nan)
        return arrays
