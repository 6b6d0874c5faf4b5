"""Data handed to another process: the same samples and labels, or a refusal."""

import shutil
from collections import namedtuple

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data import Preprocess, Range, generated, open_data
from pfir.data.reopening import hand_over, reopened
from pfir.errors import DataError
from tests.support.samples import kinds_of_images

IMAGE = TensorSpec("image", "float32", ("N", 3, 8, 8))


def there_and_back(data, folder):
    folder.mkdir(exist_ok=True)
    hand_over(data, folder)
    return reopened(folder)


def same(a, b):
    indices = np.arange(len(a))
    x, y = a.batch(indices), b.batch(indices)
    labels = (a.labels is None and b.labels is None) or np.array_equal(a.labels, b.labels)
    equal = x.keys() == y.keys() and all(np.array_equal(x[n], y[n]) for n in x)
    return len(a) == len(b) and labels and equal and a.fingerprint() == b.fingerprint() and a.kind == b.kind


def saved(folder, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (20, 8, 8, 3)).astype(np.uint8)
    np.savez(folder / "data.npz", x=images, y=random.integers(0, 4, 20))
    return open_data(folder / "data.npz", [IMAGE], Preprocess(1 / 255, (0.5,), (0.25,)), 4)


def test_a_file_is_opened_again(tmp_path):
    data = saved(tmp_path)
    assert same(there_and_back(data, tmp_path / "job"), data)
    assert not list((tmp_path / "job").glob("input*"))


def test_parts_of_parts_are_the_same_parts(tmp_path):
    part = saved(tmp_path).subset(np.arange(15, 3, -1)).subset(np.array([2, 2, 7]))
    assert same(there_and_back(part, tmp_path / "job"), part)


def test_labels_that_were_left_out_stay_out(tmp_path):
    bare = saved(tmp_path).without_labels().subset(np.arange(4))
    back = there_and_back(bare, tmp_path / "job")
    assert bare.labels is None and same(back, bare)


def test_generated_inputs_are_made_again_turn_by_turn(tmp_path):
    inputs = [IMAGE, TensorSpec("rate", "float32", ())]
    data = generated(inputs, 6, 3, {"image": Range((0.1, 0.2, 0.3), (1.0,), 0.0)}).subset(np.array([4, 1]))
    back = there_and_back(data, tmp_path / "job")
    one, other = (d.batch(np.arange(2)) for d in (data, back))
    assert all(np.array_equal(one[n], other[n]) for n in one) and back.fingerprint() == data.fingerprint()
    assert np.array_equal(data.anew(3).batch(np.arange(2))["image"], back.anew(3).batch(np.arange(2))["image"])


@pytest.mark.parametrize("labelled", [True, False])
def test_samples_of_unknown_origin_are_copied(tmp_path, labelled):
    data = kinds_of_images(count=300, labelled=labelled)
    assert same(there_and_back(data, tmp_path / "job"), data)


def test_a_file_that_has_changed_is_refused(tmp_path):
    data = saved(tmp_path)
    (tmp_path / "job").mkdir()
    hand_over(data.subset(np.arange(9)), tmp_path / "job")
    saved(tmp_path, seed=1)
    with pytest.raises(DataError, match=r"data\.npz: has other content here than where the training was started"):
        reopened(tmp_path / "job")


def test_a_copy_that_the_disk_has_no_room_for_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 5, 5))
    with pytest.raises(DataError, match="read a copy of the samples, .* choose another folder with -o"):
        hand_over(kinds_of_images(), tmp_path)
