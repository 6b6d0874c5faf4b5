"""Fitting: it learns, repeats itself bit by bit, survives interruptions and divergence, and says how far it is."""

import dataclasses
import os

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.errors import DataError, TrainingError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.evaluate import accuracy
from pfir.train import trainer
from pfir.train.checkpoint import previous
from pfir.train.feeding.mixing import Mixing
from pfir.train.fitting.judges import Judges
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import Samples, kinds_of_images
from tests.support.small_nets import after_conv, classifier
from tests.test_train.test_checkpoint import full

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


WAYS = {
    "labels": {},
    "renewed": {"renew": True},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01},
    "average": {"ema": 0.9, "accumulate": 2, "batch": 16},
}


@pytest.mark.parametrize("stop", [3, 7])
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_training_goes_on_with_the_same_bits(tmp_path, stop, way):
    plain = dataclasses.replace(FAST, **WAYS[way])
    settings = dataclasses.replace(plain, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)
    graph = attach_teacher(classifier(), *((classifier(seed=1),) if way == "renewed" else (None, LABELS)))

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


def test_a_checkpoint_of_another_training_is_left_aside_and_said(tmp_path):
    settings, told = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz"), []
    learnt(settings=settings)
    again = learnt(settings=dataclasses.replace(settings, seed=1), on_progress=lambda p: told.append(p.note))
    assert same(again.arrays, learnt(settings=dataclasses.replace(FAST, seed=1)).arrays)
    assert len(again.notes) == 1 and "another training" in again.notes[0] and again.notes[0] in told


def test_in_place_of_a_damaged_checkpoint_the_one_before_it_gives_the_same_bits(tmp_path):
    path = tmp_path / "state.npz"
    settings = dataclasses.replace(FAST, checkpoint=path)
    expected = learnt(settings=settings)
    path.write_bytes(path.read_bytes()[:-100])
    steps = []
    again = learnt(settings=settings, on_progress=lambda p: steps.append(p.step))
    assert same(again.arrays, expected.arrays) and "goes on from state.npz.previous, step 9" in again.notes[0]
    assert steps == [9, 10, 11, 12]


def test_a_full_disk_ends_no_training(tmp_path, monkeypatch):
    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)
    monkeypatch.setattr(os, "fsync", full)
    result = learnt(settings=settings)
    assert len(result.notes) == 1 and "cannot be written (No space left on device)" in result.notes[0]
    assert same(result.arrays, learnt().arrays) and not previous(settings.checkpoint).exists()


def test_a_checkpoint_is_never_written_between_the_last_step_of_an_epoch_and_its_end(tmp_path, monkeypatch):
    steps, save = [], trainer.Checkpoints.save
    monkeypatch.setattr(
        trainer.Checkpoints,
        "save",
        lambda kept, totals, groups: steps.append(len(totals.curve)) or save(kept, totals, groups),
    )
    learnt(settings=dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0, epochs=2))
    assert steps == [0, 0, 1, 1, 1, 2]


def test_accumulated_batches_train_as_one_of_their_size():
    frozen = attach_teacher(classifier(), None, dataclasses.replace(LABELS, frozen_batch_norm=True))
    parts = [dataclasses.replace(FAST, batch=32 // n, accumulate=n, clip=1.0) for n in (1, 4)]
    one, four = (fit(frozen, kinds_of_images(), s) for s in parts)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(four.arrays[name], array, rtol=2e-4, atol=1e-5)
    assert [e["loss"] for e in four.curve] == pytest.approx([e["loss"] for e in one.curve], rel=1e-4)


def test_adamw_learns_too():
    curve = learnt(settings=dataclasses.replace(FAST, optimizer="adamw", learning_rate=0.05, epochs=20)).curve
    assert curve[-1]["loss"] < 0.3 * curve[0]["loss"]


def test_the_average_of_weights_is_delivered_where_it_is_better():
    settings = dataclasses.replace(FAST, ema=0.9)
    for better in (False, True):
        seen = []

        def evaluate(arrays, seen=seen, better=better):
            seen.append(arrays)
            return float(len(seen) % 2 == 0) if better else float(len(seen) % 2)

        result = learnt(settings=settings, judges=Judges(evaluate))
        assert len(seen) == 2 * settings.epochs and result.averaged == better
        assert same(result.arrays, seen[1 if better else 0])
        assert result.curve[0]["average_score"] == float(better) != result.curve[0]["score"]


def test_without_a_score_the_average_of_the_last_epoch_is_delivered():
    plain, averaged = learnt(), learnt(settings=dataclasses.replace(FAST, ema=0.5))
    assert averaged.averaged and not plain.averaged and plain.arrays.keys() == averaged.arrays.keys()
    far = max(np.abs(averaged.arrays[n] - x).max() for n, x in plain.arrays.items())
    assert 0 < far < 0.5
    assert [e["loss"] for e in plain.curve] == [e["loss"] for e in averaged.curve]


@dataclasses.dataclass(frozen=True)
class TwoRates:
    """One rate in the first quarter of a training, another one behind it."""

    first: float
    second: float

    def rate(self, progress):
        return self.first if progress < 0.25 else self.second


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "plain"])
def test_a_rate_far_too_high_in_the_second_epoch_is_noticed_within_two_steps(monkeypatch, norm):
    settings, steps = dataclasses.replace(FAST, learning_rate=0.02), []
    graph = attach_teacher(classifier(norm=norm), classifier(seed=1, norm=norm))

    def trained(rates):
        monkeypatch.setattr(trainer, "schedule_of", lambda _: rates)
        return fit(graph, kinds_of_images(512), settings, lambda p: steps.append((p.step, p.note)))

    good, steps[:] = trained(TwoRates(0.02, 0.02)), []
    wild = trained(TwoRates(0.02, 100.0 if norm else 2.0))
    at = next(i for i, (_, note) in enumerate(steps) if note)
    # Step 17 is the first with that rate; the losses of the next two are the first that tell.
    assert steps[at - 1][0] == 18 and steps[at][0] == 16 and "training diverged at step 19" in wild.notes[0]
    assert wild.curve[-1]["loss"] < 2 * good.curve[-1]["loss"]


def test_noisy_but_healthy_training_is_never_rolled_back():
    for seed in range(4):
        data = kinds_of_images(128)
        data.labels = np.where(np.random.default_rng(seed).random(128) < 0.3, seed, data.labels)
        settings = dataclasses.replace(FAST, batch=4, learning_rate=0.05, seed=seed, epochs=6)
        assert not learnt(classifier(seed=seed), data=data, settings=settings).notes


def test_a_long_epoch_has_moments_to_go_back_to(monkeypatch):
    monkeypatch.setattr(trainer, "STRETCH", 10)
    result = learnt(data=_Spoilt(at=25, count=256), settings=dataclasses.replace(FAST, batch=8, epochs=1))
    assert "it goes on from step 20 with" in result.notes[0] and result.curve[0]["step"] == 32


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


def test_divergence_after_two_retreats_is_an_error():
    with pytest.raises(TrainingError, match="diverged at step .* even after 2 retreats; give a smaller learning rate"):
        learnt(settings=dataclasses.replace(FAST, learning_rate=1e20))


def test_the_best_epoch_is_returned():
    scores = iter([0.1, 0.9, 0.3, 0.2])
    kept = []

    def evaluate(arrays):
        kept.append(arrays)
        return next(scores)

    result = learnt(judges=Judges(evaluate))
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

    watched = learnt(judges=Judges(watch=watch))
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

    def __init__(self, at, count=96):
        data = kinds_of_images(count)
        super().__init__(data.batch(np.arange(len(data))), data.labels)
        self._left = at + 1  # one more batch is read for its shapes

    def batch(self, indices):
        self._left -= 1
        arrays = super().batch(indices)
        if self._left == 0:
            arrays["image"] = np.full_like(arrays["image"], np.nan)
        return arrays
