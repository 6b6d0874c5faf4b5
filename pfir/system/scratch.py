"""Temporary folders that are removed in any case: at the end of their use, or at the next start after a kill."""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pfir.errors import UsageError

_PREFIX = "pfir-scratch-"
_LOCK, _UNLOCKED = "lock", "lock.new"
_FULL = (errno.ENOSPC, errno.EDQUOT)
Made = TypeVar("Made")
_held: dict[int, Path] = {}
"""The folder of this process, by its process number: one that was forked off makes its own."""


@contextmanager
def scratch_folder(needs_bytes: int = 0) -> Iterator[Path]:
    """A folder for files that are needed no longer than this context lasts.

    Args:
        needs_bytes: What must be free: for code that ends the process where a disk is full.

    Raises:
        UsageError: No temporary folder can be written, or the disk is full.
    """
    folder = Path(_made(lambda: tempfile.mkdtemp(dir=_own_folder())))
    try:
        if shutil.disk_usage(folder).free < needs_bytes:
            raise _full()
        yield folder
    except OSError as error:
        if error.errno in _FULL:
            raise _full() from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scratch_file(suffix: str) -> Path:
    """An empty file that lasts until it is removed, or this process ends.

    Raises:
        UsageError: No temporary folder can be written.
    """
    handle, name = _made(lambda: tempfile.mkstemp(suffix=suffix, dir=_own_folder()))
    os.close(handle)
    return Path(name)


def lasting_folder(name: str) -> Path:
    """The folder of this name that lasts until this process ends.

    Raises:
        UsageError: No temporary folder can be written.
    """
    folder = _made(_own_folder) / name
    folder.mkdir(exist_ok=True)
    return folder


def scratch_place() -> Path:
    """Where temporary folders are made.

    Raises:
        UsageError: There is no folder for them that can be written.
    """
    return Path(_made(tempfile.gettempdir))


def remove_stale() -> None:
    """Remove what killed processes of this user left behind; folders of live ones are locked and stay."""
    try:
        found = [Path(entry.path) for entry in os.scandir(tempfile.gettempdir()) if entry.name.startswith(_PREFIX)]
    except OSError:  # whoever needs a temporary folder is told why there is none
        return
    for folder in found:
        if _is_stale(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _own_folder() -> Path:
    owner = os.getpid()
    if owner not in _held or not _held[owner].exists():
        _held[owner] = _locked(Path(tempfile.mkdtemp(prefix=_PREFIX)))
        atexit.register(_remove, owner, _held[owner])
    return _held[owner]


def _locked(folder: Path) -> Path:
    """The folder, with a lock that the system drops when this process ends, however it ends."""
    handle = os.open(folder / _UNLOCKED, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    # Only what has a lock of this name can be stale, so that nobody takes it for one before it is locked.
    os.rename(folder / _UNLOCKED, folder / _LOCK)
    return folder


def _is_stale(folder: Path) -> bool:
    try:
        if folder.stat().st_uid != os.getuid():
            return False
        handle = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:  # without a lock it is not ours to judge
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _remove(owner: int, folder: Path) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _made(make: Callable[[], Made]) -> Made:
    try:
        return make()
    except OSError as error:
        if error.errno in _FULL:
            raise _full() from error
        why = error.strerror or str(error)
        raise UsageError(f"no temporary folder can be written ({why}); set TMPDIR to one that can") from error


def _full() -> UsageError:
    return UsageError(f"no space left in {tempfile.gettempdir()}; free some, or set TMPDIR to a folder with more")
