"""Temporary folders go in any case: when their use ends, when their process ends, at the next start after a kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import pfir
from pfir.errors import UsageError
from pfir.system import scratch
from pfir.system.scratch import lasting_folder, remove_stale, scratch_file, scratch_folder, scratch_place

ROOT = str(Path(pfir.__file__).parent.parent)
# A process that holds a folder of 1 MB, says so, and waits.
HOLD = f"""
import sys; sys.path.insert(0, {ROOT!r})
from pfir.system.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "unpacked").write_bytes(bytes(1 << 20))
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A temporary folder of its own, with nothing in it of this process yet."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_held", {})
    return tmp_path


@pytest.fixture
def holder():
    """A live process with a folder, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_a_folder_ends_with_its_use_whatever_happens(place):
    with scratch_folder() as folder:
        (folder / "file").touch()
    assert not folder.exists()
    with pytest.raises(ValueError), scratch_folder() as folder:
        raise ValueError
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_has_is_not(holder, place):
    process, folder = holder
    remove_stale()
    assert (folder / "unpacked").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / "unpacked").exists()
    remove_stale()
    assert list(place.iterdir()) == []


def test_a_process_that_ends_leaves_nothing(holder, place):
    process, folder = holder
    process.communicate("")
    assert list(place.iterdir()) == []


def test_our_own_folder_is_not_stale(place):
    with scratch_folder() as folder:
        remove_stale()
        assert folder.exists()


def test_what_is_not_certainly_stale_stays(place, holder, monkeypatch):
    process, folder = holder
    process.kill()
    process.wait()
    (place / "pfir-scratch-new").mkdir()  # another process is about to lock it
    (place / "pfir-scratch-new" / "lock.new").touch()
    (place / "pfir-scratch-file").touch()
    (place / "other").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    remove_stale()  # it is another user's
    monkeypatch.undo()
    assert folder.exists() and len(list(place.iterdir())) == 4


def test_a_link_in_the_place_of_a_folder_leads_to_nothing_that_is_removed(place, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "lock").touch()
    (place / "pfir-scratch-link").symlink_to(other)
    remove_stale()
    assert (other / "lock").exists()


def test_a_file_and_a_lasting_folder_stay_until_the_process_ends(place):
    path, folder = scratch_file(".npy"), lasting_folder("zig")
    assert path.suffix == ".npy" and path.exists() and lasting_folder("zig") == folder
    assert {path.parent, folder.parent} == set(place.iterdir())


def test_without_any_place_the_error_says_what_to_do(monkeypatch):
    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: none())
    for use in (scratch_place, lambda: scratch_file(".npy"), lambda: scratch_folder().__enter__()):
        with pytest.raises(UsageError, match="no temporary folder can be written .No usable.*; set TMPDIR to one"):
            use()
    remove_stale()


def test_a_full_disk_says_what_to_do(place):
    with pytest.raises(UsageError, match=f"no space left in {place}; free some, or set TMPDIR"), scratch_folder():
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), scratch_folder():
        raise PermissionError


def test_a_place_that_does_not_exist_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with scratch_folder() as folder:
        assert folder.exists()
    for held in scratch._held.values():
        scratch._remove(os.getpid(), held)
