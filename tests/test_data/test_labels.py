import numpy as np
import pytest

from pfir.data.labels import are_values, checked_labels, checked_targets
from pfir.errors import DataError


def test_class_indices_become_int64():
    for y in (np.array([0, 2, 1], np.uint8), np.array([[0], [2], [1]]), np.array([0.0, 2.0, 1.0])):
        found = checked_labels(y, 3, "d")
        assert found.dtype == np.int64 and found.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.eye(3), "one-hot"),
        (np.arange(4), "4 labels y for 3"),
        (np.array(["a", "b", "c"]), "type"),
        (np.array([0, -1, 2]), "label -1 at index 1"),
        (np.array([0, 0.5, 2]), "label 0.5 at index 1"),
        (np.array([0, np.nan, 2]), "label nan at index 1"),
        (np.array([0, 1e300, 2]), r"label 1e\+300 at index 1"),
        (np.array([0, 2**63, 2], np.uint64), "at index 1"),
        (np.zeros((3, 1, 1)), "one class index per sample"),
    ],
)
def test_what_is_no_class_index_is_refused(y, words):
    with pytest.raises(DataError, match=words):
        checked_labels(y, 3, "d")


@pytest.mark.parametrize(
    ("y", "values", "found"),
    [
        (np.full((4, 6), 0.5), (6,), True),
        (np.array([0.5, 1, 2, 3]), (1,), True),
        (np.array([0.0, 1, 2, 3]), (6,), False),
        (np.eye(4), (4,), False),
        (np.full((4, 6), 3), (6,), False),
    ],
)
def test_floats_are_values_where_they_fill_the_output(y, values, found):
    assert are_values(y, values) == found


def test_values_have_the_shape_of_the_output():
    assert checked_targets(np.array([0.5, 1, 2]), 3, (1,), "d").shape == (3, 1)
    assert checked_targets(np.ones((3, 2, 5)), 3, (2, "T"), "d").dtype == np.float32


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.ones((4, 2)), "4 values y for 3"),
        (np.ones((3, 5)), r"values y are \[3, 5\]; the model's output is \[N, 2\]"),
        (np.ones((3, 2, 1)), r"values y are \[3, 2, 1\]"),
        (np.array([[1, 2], [3, np.inf], [5, 6]]), r"y is inf at index \[1, 1\]"),
    ],
)
def test_values_of_another_shape_are_refused(y, words):
    with pytest.raises(DataError, match=words):
        checked_targets(y, 3, (2,), "d")
