"""Checkpoints come back as they were, or are refused."""

import numpy as np
import pytest

from pfir.errors import DataError
from pfir.train.checkpoint import State, load, save


def test_a_saved_state_of_training_is_loaded_as_it_was(tmp_path):
    path = tmp_path / "new" / "state.npz"
    save(path, State({"now/x": np.arange(3.0)}, {"key": "k", "step": 7, "curve": [{"loss": 0.1}]}))
    state = load(path, "k")
    assert state.facts == {"key": "k", "step": 7, "curve": [{"loss": 0.1}]}
    np.testing.assert_array_equal(state.arrays["now/x"], np.arange(3.0))
    assert [p.name for p in path.parent.iterdir()] == ["state.npz"]


def test_no_state_is_loaded_where_there_is_none_or_that_of_another_training(tmp_path):
    path = tmp_path / "state.npz"
    assert load(path, "k") is None
    save(path, State({}, {"key": "other"}))
    assert load(path, "k") is None


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="state.npz: cannot be read as a checkpoint of pfir.*remove it"):
        load(path, "k")


def test_pickles_in_a_checkpoint_are_not_read(tmp_path):
    path = tmp_path / "state.npz"
    np.savez(path, facts=np.array([{"key": "k"}], object))
    with pytest.raises(DataError, match="a checkpoint of pfir"):
        load(path, "k")


def test_an_array_of_a_checkpoint_that_is_missing_or_renamed_is_noticed(tmp_path):
    path = tmp_path / "state.npz"
    save(path, State({"now/x": np.arange(3.0), "now/y": np.arange(3.0)}, {"key": "k"}))
    with np.load(path) as file:
        arrays = dict(file)
    for change in ({"now/x": np.zeros(3)}, {"now/x": None}, {"good/x": np.arange(3.0)}, {"digest": None}):
        kept = {name: x for name, x in (arrays | change).items() if x is not None}
        np.savez(path, **kept)
        with pytest.raises(DataError, match=r"checkpoint of pfir.*remove it to train from the start"):
            load(path, "k")
