import pickle

import numpy as np

from pfir.artifact import TensorSpec
from pfir.data.files.arrays import ArrayDataset
from pfir.data.kept import KeptDataset

X = np.arange(20, dtype=np.float32).reshape(10, 2)


class Counting(ArrayDataset):
    made = 0

    def batch(self, indices):
        self.made += len(indices)
        return super().batch(indices)


def source():
    return Counting({"x": X, "y": np.arange(10)}, [TensorSpec("x", "float32", ("N", 2))], None, "here")


def test_samples_are_made_once_and_come_in_the_order_asked_for():
    origin = source()
    kept = KeptDataset(origin)
    for indices in ([3, 1], [1, 3, 5], [5, 5, 0], [0, 3]):
        assert np.array_equal(kept.batch(np.array(indices))["x"], X[indices])
    assert origin.made == 4


def test_no_more_is_kept_than_allowed():
    origin = source()
    kept = KeptDataset(origin, most_bytes=3 * X[0].nbytes)
    for _ in range(2):
        assert np.array_equal(kept.batch(np.arange(10))["x"], X)
    assert origin.made == 10 + 7


def test_writing_into_a_batch_changes_no_kept_sample():
    kept = KeptDataset(source())
    for _ in range(3):
        batch = kept.batch(np.arange(4))["x"]
        assert np.array_equal(batch, X[:4])
        batch[:] = 0


def test_a_kept_data_set_has_the_interface_of_its_source():
    origin = source()
    kept = pickle.loads(pickle.dumps(KeptDataset(origin)))
    assert len(kept) == 10 and kept.labels.tolist() == list(range(10)) and kept.inputs == ("x",)
    assert kept.fingerprint() == origin.fingerprint()
