"""Folders that are made once in the user's cache: whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from pfir.errors import DeviceError
from pfir.scratch import lasting_folder


def default_cache() -> Path:
    """Where pfir keeps what it can make again: `$XDG_CACHE_HOME/pfir`, else `~/.cache/pfir`."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "pfir"
    except RuntimeError:  # this user has no home
        return lasting_folder("cache")


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder; where it does not exist, `make` fills one beside it, which then takes its place.

    A folder that a killed process left half-made is removed, never used.

    Raises:
        DeviceError: The cache cannot be written, or whatever `make` raises.
    """
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not folder.exists():
                _make(folder, make)
    except OSError as error:
        raise DeviceError(f"{folder} cannot be made: {error}") from error
    return folder


@contextmanager
def _lock(folder: Path):
    """One process at a time; the lock goes with its holder, however that ends."""
    with open(folder.with_suffix(".lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    work = folder.with_suffix(".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        make(work)
        os.rename(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
