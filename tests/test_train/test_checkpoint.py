"""Checkpoints come back as they were, or the one before them does."""

import errno
import os

import numpy as np
import pytest

from pfir.train.checkpoint import State, load, previous, save

BEGINNING = "training starts from the beginning"


def state(step=7, key="k"):
    return State({"now/x": np.arange(3.0) + step}, {"key": key, "step": step, "curve": [{"loss": 0.1}]})


def test_a_saved_state_of_training_is_loaded_as_it_was(tmp_path):
    path = tmp_path / "new" / "state.npz"
    save(path, state())
    found = load(path, "k")
    assert found.note is None and found.state.facts == state().facts
    np.testing.assert_array_equal(found.state.arrays["now/x"], np.arange(3.0) + 7)
    assert [p.name for p in path.parent.iterdir()] == ["state.npz"]


def test_where_there_is_no_file_there_is_no_state_and_nothing_to_say(tmp_path):
    found = load(tmp_path / "state.npz", "k")
    assert found.state is None and found.note is None


def test_the_state_before_the_last_is_kept(tmp_path):
    path = tmp_path / "state.npz"
    for step in (1, 2, 3):
        save(path, state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.npz", "state.npz.previous"]
    assert load(path, "k").state.facts["step"] == 3
    path.unlink()
    assert load(path, "k").state.facts["step"] == 2 and load(path, "k").note is None


def test_a_state_of_another_training_is_passed_over_and_said(tmp_path):
    path = tmp_path / "state.npz"
    save(path, state(key="other"))
    found = load(path, "k")
    assert found.state is None
    assert found.note.startswith(f"{path}: is a checkpoint of another training") and found.note.endswith(BEGINNING)


DAMAGED = {
    "empty": lambda whole: b"",
    "no archive": lambda whole: b"no zip at all",
    "cut short": lambda whole: whole[: len(whole) // 2],
    "a byte changed": lambda whole: whole[:120] + bytes([whole[120] ^ 255]) + whole[121:],
}


@pytest.mark.parametrize("how", DAMAGED)
def test_in_place_of_a_damaged_file_the_one_before_it_is_used(tmp_path, how):
    path = tmp_path / "state.npz"
    for step in (1, 2):
        save(path, state(step))
    path.write_bytes(DAMAGED[how](path.read_bytes()))
    found = load(path, "k")
    assert found.state.facts["step"] == 1
    assert str(path) in found.note and "training goes on from state.npz.previous, step 1" in found.note
    assert "\n" not in found.note


def test_where_both_are_damaged_training_starts_from_the_beginning(tmp_path):
    path = tmp_path / "state.npz"
    path.write_bytes(b"x")
    previous(path).write_bytes(b"PK\x03\x04 cut short")
    found = load(path, "k")
    assert found.state is None and found.note.endswith(BEGINNING)
    assert f"{path}: cannot be read" in found.note and f"{previous(path)}: cannot be read" in found.note


def test_pickles_in_a_checkpoint_are_not_read(tmp_path):
    path = tmp_path / "state.npz"
    np.savez(path, facts=np.array([{"key": "k"}], object))
    found = load(path, "k")
    assert found.state is None and "a checkpoint of pfir" in found.note


def test_an_array_of_a_checkpoint_that_is_missing_or_renamed_is_noticed(tmp_path):
    path = tmp_path / "state.npz"
    save(path, State({"now/x": np.arange(3.0), "now/y": np.arange(3.0)}, {"key": "k"}))
    with np.load(path) as file:
        arrays = dict(file)
    for change in ({"now/x": np.zeros(3)}, {"now/x": None}, {"good/x": np.arange(3.0)}, {"digest": None}):
        kept = {name: x for name, x in (arrays | change).items() if x is not None}
        np.savez(path, **kept)
        assert load(path, "k").state is None


def test_what_cannot_be_written_leaves_the_files_that_were_there(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    for step in (1, 2):
        save(path, state(step))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, state(3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.npz", "state.npz.previous"]
    assert load(path, "k").state.facts["step"] == 2


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
