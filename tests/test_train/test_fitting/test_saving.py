"""The state of a training is written when it is due, and a disk that is full ends nothing."""

import os
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

from pfir.train.fitting.saving import Checkpoints
from pfir.train.fitting.totals import Totals
from tests.test_train.test_checkpoint import full

GROUPS = {"now": {"a/b": np.arange(4.0)}, "good": {"a/b": np.zeros(4)}, "best": {}}


def totals(step):
    done = Totals(notes=["n"])
    for _ in range(step):
        done.add([0.5, 0.25])
    done.settle()
    return done


def test_totals_and_groups_come_back(tmp_path):
    kept = Checkpoints(tmp_path / "s.npz", "k", 60.0)
    assert kept.save(totals(5), GROUPS) is None
    found, groups, note = kept.load()
    assert found == totals(5) and note is None and groups.keys() == {"now", "good"}
    np.testing.assert_array_equal(groups["now"]["a/b"], np.arange(4.0))


def test_without_a_file_nothing_is_kept():
    kept = Checkpoints(None, "k", 0.0)
    assert not kept.are_kept and not kept.is_due(Totals()) and kept.load() == (Totals(), {}, None)


def test_a_write_is_due_after_the_time_and_not_before(tmp_path):
    kept = Checkpoints(tmp_path / "s.npz", "k", 60.0)
    assert not kept.is_due(Totals(seconds=59.0)) and kept.is_due(Totals(seconds=60.0))
    kept.save(Totals(seconds=60.0), GROUPS)
    for later in (kept, Checkpoints(tmp_path / "s.npz", "k", 60.0)):
        later.load()
        assert not later.is_due(Totals(seconds=119.0)) and later.is_due(Totals(seconds=120.0))


def test_a_damaged_file_never_takes_the_place_of_the_one_before_it(tmp_path):
    kept = Checkpoints(tmp_path / "s.npz", "k", 60.0)
    for step in (1, 2):
        kept.save(totals(step), GROUPS)
    (tmp_path / "s.npz").write_bytes(b"x")
    again = Checkpoints(tmp_path / "s.npz", "k", 60.0)
    assert again.load()[0].step == 1
    again.save(totals(3), GROUPS)
    (tmp_path / "s.npz").write_bytes(b"x")
    assert again.load()[0].step == 1
    for step in (4, 5):
        again.save(totals(step), GROUPS)
    (tmp_path / "s.npz").unlink()
    assert again.load()[0].step == 4


def test_a_full_disk_is_said_once_and_the_last_state_stays(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path / "s.npz", "k", 60.0)
    kept.save(totals(1), GROUPS)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        notes = [kept.save(totals(n), GROUPS) for n in (2, 3)]
    assert "s.npz: the state of training cannot be written (No space left on device)" in notes[0] and notes[1] is None
    assert kept.load()[0].step == 1
    kept.save(totals(4), GROUPS)
    assert kept.load()[0].step == 4


def test_a_disk_that_is_really_full_is_said_once_and_the_last_state_stays(tmp_path):
    with tiny_disk(tmp_path / "disk") as disk:
        kept = Checkpoints(disk / "s.npz", "k", 60.0)
        assert kept.save(totals(1), GROUPS) is None
        large = {"now": {"x": np.zeros(100_000)}}
        notes = [kept.save(totals(n), large) for n in (2, 3)]
        assert "No space left" in notes[0] and notes[1] is None
        assert [p.name for p in disk.iterdir()] == ["s.npz"] and kept.load()[0].step == 1


@contextmanager
def tiny_disk(folder):
    """A disk of 256 KiB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may make a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
