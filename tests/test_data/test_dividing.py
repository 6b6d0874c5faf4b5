import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data import split
from pfir.data.files.arrays import ArrayDataset
from pfir.errors import DataError, UsageError


def dataset(count, labels=None):
    arrays = {"x": np.arange(count, dtype=np.float32)[:, None]} | ({} if labels is None else {"y": labels})
    return ArrayDataset(arrays, [TensorSpec("x", "float32", ("N", 1))], None, "here")


def rows(part):
    return part.batch(np.arange(len(part)))["x"][:, 0]


def test_the_parts_are_disjoint_and_together_all():
    rest, taken = split(dataset(10), 0.3, seed=1)
    assert len(taken) == 3
    assert sorted([*rows(rest), *rows(taken)]) == list(range(10))


def test_every_class_gives_its_share():
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    rest, taken = split(dataset(100, labels), 0.2)
    assert np.bincount(taken.labels).tolist() == [12, 6, 2]
    assert np.bincount(rest.labels).tolist() == [48, 24, 8]


def test_a_seed_gives_the_same_parts_and_another_others():
    assert np.array_equal(rows(split(dataset(50), 0.5, 1)[1]), rows(split(dataset(50), 0.5, 1)[1]))
    assert not np.array_equal(rows(split(dataset(50), 0.5, 1)[1]), rows(split(dataset(50), 0.5, 2)[1]))


def test_no_part_is_ever_empty():
    rest, taken = split(dataset(2), 0.01)
    assert len(rest) == len(taken) == 1


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UsageError, match="share"):
        split(dataset(4), share)


def test_a_single_sample_cannot_be_split():
    with pytest.raises(DataError, match="cannot be split"):
        split(dataset(1), 0.5)
