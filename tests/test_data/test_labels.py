import numpy as np
import pytest

from pfir.data.labels import checked_labels
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
