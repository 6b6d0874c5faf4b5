"""Files of class names give each folder of images its index, or say which folder they do not know."""

import json

import numpy as np
import pytest
from PIL import Image

from pfir.artifact import TensorSpec
from pfir.data import open_data, parse_preprocess
from pfir.data.classes import class_names
from pfir.errors import DataError

SPEC = [TensorSpec("x", "float32", ("N", 3, 8, 8))]


def written(folder, content):
    path = folder / "names"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return class_names(path)


def opened(folder, names, *folders, classes=None):
    for name in folders:
        (folder / "images" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "images" / name / "a.png")
    return open_data(folder / "images", SPEC, parse_preprocess("scale=1"), classes, names)


@pytest.mark.parametrize(
    "content",
    [
        "zebra\ncat\ndog\n",
        ["zebra", "cat", "dog"],
        {"0": "zebra", "1": "cat", "2": "dog"},
        {"zebra": 0, "cat": 1, "dog": 2},
        [["zebra"], ["house cat", "cat"], "dog"],
    ],
)
def test_every_form_gives_the_same_order(tmp_path, content):
    data = opened(tmp_path, written(tmp_path, content), "cat", "dog", classes=3)
    assert data.labels.tolist() == [1, 2]
    assert "1=cat, 2=dog" in data.notes[0] and "names" in data.notes[0]


def test_case_spaces_and_wordnet_numbers_are_understood(tmp_path):
    names = written(tmp_path, "n01440764 tench, Tinca tinca\nGreat White Shark\n")
    assert names.of(["n01440764", "great_white-shark"], "d") == {"n01440764": 0, "great_white-shark": 1}


def test_folders_without_a_name_in_the_file_are_named(tmp_path):
    with pytest.raises(DataError, match="names no single class for 1 of 2 folders: cow"):
        opened(tmp_path, written(tmp_path, "cat\ndog"), "cat", "cow")


def test_a_name_of_two_classes_is_not_guessed(tmp_path):
    names = written(tmp_path, "crane\nmaillot\ncrane")
    assert names.of(["maillot"], "d") == {"maillot": 1}
    with pytest.raises(DataError, match="crane"):
        names.of(["crane"], "d")


def test_another_number_of_names_than_classes_is_noted(tmp_path):
    assert "2 names, the model has 3 classes" in opened(tmp_path, written(tmp_path, "a\nb"), "b", classes=3).notes[0]


def test_without_names_a_missing_folder_is_noted(tmp_path):
    assert "the model has 5 classes: --classes FILE" in opened(tmp_path, None, "a", "b", classes=5).notes[0]


def test_names_of_classes_given_with_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3, 8, 8), np.float32))
    with pytest.raises(DataError, match="--classes .* is for image folders"):
        open_data(tmp_path / "d.npz", SPEC, None, None, written(tmp_path, "a\nb"))


@pytest.mark.parametrize(
    "content", ["", "[]", "[1]", '{"cat": -1}', '{"99999999999": "cat"}', "[" * 99999, '{"0": []}']
)
def test_what_is_no_list_of_names_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="--classes"):
        written(tmp_path, content)


def test_a_file_that_is_missing_too_large_or_no_text_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="No such file"):
        class_names(tmp_path / "nowhere")
    (tmp_path / "names").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="--classes"):
        class_names(tmp_path / "names")
    monkeypatch.setattr("pfir.data.classes._LARGEST_FILE", 2)
    with pytest.raises(DataError, match="too large"):
        written(tmp_path, "cat\ndog")
