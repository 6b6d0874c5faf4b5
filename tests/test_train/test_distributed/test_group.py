"""Workers that share batches learn what one process does with all of them."""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.distributed.compression.choice import hook_named
from pfir.train.distributed.group import Group
from pfir.train.fitting.judges import Judges
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier
from tests.support.together import together

FAST = Settings(epochs=4, batch=32, learning_rate=0.1, jobs=1, clip=None)
FROZEN = DistillationSettings(label_weight=1.0, frozen_batch_norm=True)
GRAPH = attach_teacher(classifier(), None, FROZEN)


def in_threads(count, graph, data, settings=FAST, compress="none", **more):
    """The result of each of so many workers."""

    def run(collective):
        return fit(graph, data, settings, workers=Group(collective, hook_named(compress)), **more)

    return together(count, run)


def near(a, b, within):
    return a.keys() == b.keys() and all(np.abs(a[n] - b[n]).max() < within for n in a)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("way", ["labels", "augmented", "renewed with a teacher"])
def test_workers_learn_what_one_process_learns_from_the_same_batches(count, way):
    settings, data, graph = FAST, kinds_of_images(), attach_teacher(classifier(), None, FROZEN)
    if way == "augmented":
        settings = dataclasses.replace(FAST, augment="flip-crop")
    elif way != "labels":
        data, settings = (
            generated([TensorSpec("image", "float32", ("N", 3, 8, 8))], 96),
            dataclasses.replace(FAST, renew=True),
        )
        graph = attach_teacher(classifier(), classifier(seed=1), DistillationSettings(frozen_batch_norm=True))
    one, several = fit(graph, data, settings), in_threads(count, graph, data, settings)
    assert all(near(worker.arrays, one.arrays, 1e-6) for worker in several)
    assert np.allclose([e["loss"] for e in several[0].curve], [e["loss"] for e in one.curve], atol=1e-6)


@pytest.mark.parametrize("batch", [64, 128])
def test_running_statistics_are_those_of_one_process_with_as_many_shards(batch):
    graph = attach_teacher(classifier(), None, DistillationSettings(label_weight=1.0))
    settings, data = dataclasses.replace(FAST, batch=batch, epochs=2), kinds_of_images(256)
    one, two = fit(graph, data, settings), in_threads(2, graph, data, settings)
    assert near(two[0].arrays, one.arrays, 1e-6) and near(two[1].arrays, two[0].arrays, 1e-30)


@pytest.mark.parametrize("compress", ["fp16", "ecq"])
def test_compressed_gradients_teach_as_much(compress):
    graph, data = attach_teacher(classifier(), None, FROZEN), kinds_of_images()
    settings = dataclasses.replace(FAST, epochs=20, learning_rate=0.02)
    plain, two = fit(graph, data, settings), in_threads(2, graph, data, settings, compress)
    start, end = plain.curve[0]["loss"], plain.curve[-1]["loss"]
    assert two[0].curve[-1]["loss"] < end + 0.1 * (start - end)
    assert near(two[0].arrays, two[1].arrays, 1e-30)


def test_the_first_worker_alone_evaluates_and_all_return_the_same_best_epoch():
    scores, graph = iter([0.1, 0.9, 0.3, 0.2]), attach_teacher(classifier(), None, FROZEN)
    found = in_threads(2, graph, kinds_of_images(), judges=Judges(lambda arrays: next(scores)))
    assert [r.best_epoch for r in found] == [2, 2] and near(found[0].arrays, found[1].arrays, 1e-30)


def test_a_checkpoint_goes_on_with_another_number_of_workers(tmp_path):
    graph, data = attach_teacher(classifier(), None, FROZEN), kinds_of_images()
    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)

    def interrupt(progress):
        if progress.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(2, graph, data, settings, on_progress=interrupt)
    steps = []
    resumed = in_threads(4, graph, data, settings, on_progress=lambda p: steps.append(p.step))
    assert min(steps) == 7 and near(resumed[0].arrays, fit(graph, data, FAST).arrays, 1e-6)


@pytest.fixture(params=["ecq", "fp16", "none"])
def stopped(request, tmp_path):
    """The settings of a training of two workers that stopped at step 7, and how its gradients travelled."""
    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)

    def interrupt(progress):
        if progress.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(2, GRAPH, kinds_of_images(), settings, request.param, on_progress=interrupt)
    return settings, request.param


def test_as_many_workers_go_on_with_the_bits_of_a_training_that_never_stopped(stopped):
    settings, compress = stopped
    whole = in_threads(2, GRAPH, kinds_of_images(), FAST, compress)
    resumed = in_threads(2, GRAPH, kinds_of_images(), settings, compress)
    assert all(np.array_equal(resumed[0].arrays[n], x) for n, x in whole[0].arrays.items())
    assert resumed[0].curve[-1]["loss"] == whole[0].curve[-1]["loss"] and not resumed[0].notes


def test_another_number_of_workers_goes_on_and_what_nobody_can_send_any_more_is_noted(stopped):
    (settings, compress), data, steps = stopped, kinds_of_images(), []
    with checkpoint_of(settings):
        four = in_threads(4, GRAPH, data, settings, compress, on_progress=lambda p: steps.append(p.step))
    one = fit(GRAPH, data, settings, lambda p: steps.append(p.step))
    assert min(steps) >= 6 and not four[0].notes
    assert [note[:20] for note in one.notes] == (["what 2 processes had"] if compress == "ecq" else [])


@contextmanager
def checkpoint_of(settings):
    """Afterwards the state is what it was."""
    before = settings.checkpoint.read_bytes()
    yield
    settings.checkpoint.write_bytes(before)


def test_a_training_that_diverges_goes_back_in_all_workers():
    graph = attach_teacher(classifier(norm=False), classifier(norm=False))
    settings = dataclasses.replace(FAST, learning_rate=1.8, warmup_share=0.2)
    found = in_threads(2, graph, kinds_of_images(256), settings, "ecq")
    assert all(r.notes and "diverged" in r.notes[0] for r in found)
    assert near(found[0].arrays, found[1].arrays, 1e-30)
