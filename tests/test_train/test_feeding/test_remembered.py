"""The teacher's answers: each computed once, in this training and in one that goes on with it."""

import resource

import numpy as np
import pytest

from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.train.feeding import remembered as module
from pfir.train.feeding.remembered import Remembered
from pfir.train.feeding.source import VIEWS, Source
from pfir.train.settings import Settings
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier

DATA = kinds_of_images(8)
ALL = np.arange(8)


class Counting:
    """Answers, and counts how often it is asked."""

    calls = 0

    def outputs(self, arrays):
        self.calls += 1
        return {"t": arrays["image"][:, 0, 0, :2], "labels": np.arange(len(arrays["image"]))}


def _right(remembered, indices, view=0):
    arrays = DATA.batch(indices)
    np.testing.assert_array_equal(remembered.outputs(indices, view, arrays)["t"], arrays["image"][:, 0, 0, :2])


def _calls_in_all(folder, key="one", views=2):
    """How often the teacher is asked for every sample's views, twice in turn."""
    counting = Counting()
    remembered = Remembered(counting, 8, folder, key)
    for _ in range(2):
        for view in range(views):
            for indices in (ALL[:4], ALL[2:], ALL[::-1]):
                _right(remembered, indices, view)
    return counting.calls, remembered.notes


@pytest.mark.parametrize("on_disk", (False, True))
def test_what_is_known_is_not_computed_again(tmp_path, on_disk):
    assert _calls_in_all(tmp_path / "answers" if on_disk else None) == (4, ())


def test_what_is_too_large_is_asked_for_every_time(monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT_BYTES", 8 * 20)  # one view: two floats, an integer and a checksum a sample
    assert _calls_in_all(None) == (2 + 6, ())


def test_a_training_that_goes_on_knows_what_was_known(tmp_path):
    _calls_in_all(tmp_path)
    assert _calls_in_all(tmp_path) == (2, ())  # a view's first batch tells what its file holds


def test_answers_of_another_teacher_are_made_anew(tmp_path):
    _calls_in_all(tmp_path)
    assert _calls_in_all(tmp_path, "two") == (4, ())


@pytest.mark.parametrize("damage", ("cut", "zeros", "flipped"))
def test_what_is_damaged_is_computed_again(tmp_path, damage):
    _calls_in_all(tmp_path)
    path = tmp_path / "0.bin"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-6] ^= 1  # in the last sample's record
    path.write_bytes({"cut": content[:-3], "zeros": bytes(len(content)), "flipped": content}[damage])
    assert _calls_in_all(tmp_path)[0] == 2 + 1


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    calls, notes = _calls_in_all(tmp_path / "file")
    assert calls == 12 and len(notes) == 1 and "are not kept" in notes[0]


def test_a_full_disk_is_done_without_and_nothing_is_left_behind(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        calls, notes = _calls_in_all(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert calls == 12 and len(notes) == 1 and not list(tmp_path.iterdir())


def test_answers_lie_beside_the_checkpoint(tmp_path):
    graph, data = attach_teacher(classifier(), classifier(seed=1, norm=False)), kinds_of_images(32)
    settings = Settings(batch=16, jobs=1, augment="flip-crop", checkpoint=tmp_path / "checkpoint.npz")
    found = []
    for _ in range(2):
        source = Source(graph, data, settings)
        found.append([feeds["pfir_loss_teacher_logits"] for feeds in source.feeds(0, 2 * source.steps_per_epoch)])
        source.close()
    np.testing.assert_array_equal(*found)
    assert len(list((tmp_path / "checkpoint.answers").iterdir())) == 2 < VIEWS
