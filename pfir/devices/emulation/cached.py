"""Folders that are made once in the user's cache, whole or not at all, and checked before they are used."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pfir.errors import DeviceError
from pfir.system.scratch import lasting_folder

_CONTENT = "content.json"


def default_cache() -> Path:
    """Where pfir keeps what it can make again: `$XDG_CACHE_HOME/pfir`, else `~/.cache/pfir`."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "pfir"
    except RuntimeError:  # this user has no home
        return lasting_folder("cache")


def made_once(
    folder: Path,
    make: Callable[[Path], None],
    note: Callable[[str], None],
    offline: bool = False,
    thorough: bool = False,
) -> Path:
    """The folder, intact; where it does not exist, `make` fills one beside it, which then takes its place.

    A folder that a killed process left half-made is removed, never used; a damaged one is made anew.

    Args:
        folder: Its place in the cache.
        make: Fetches what belongs into a folder, and puts it there.
        note: Told when a damaged folder is made anew.
        offline: Nothing may be fetched.
        thorough: Compare the content of every file with its checksum, where otherwise that of files with another size
            or time is: for when what lies there does not work.

    Raises:
        DeviceError: The cache cannot be written, the folder would have to be fetched, or whatever `make` raises.
    """
    try:
        fault = damage(folder, thorough)
        if fault is None:
            return folder
        if offline:
            raise DeviceError(f"{folder} {fault}, and nothing may be fetched (--offline); run once without --offline")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            # Another process may have made it meanwhile.
            fault = damage(folder, thorough)
            if fault is not None:
                if folder.exists():
                    note(f"{folder} {fault}: it is made anew")
                _make(folder, make)
    except OSError as error:
        raise DeviceError(f"{folder} cannot be made: {error}") from error
    return folder


def damage(folder: Path, thorough: bool = False) -> str | None:
    """What is wrong with a folder, as the end of a sentence; None where it is as it was made."""
    if not folder.is_dir():
        return "does not exist yet"
    try:
        entries = json.loads((folder / _CONTENT).read_bytes())
        if not entries:
            return "is damaged (its list of files is empty)"
        wrong = next((name for name, entry in entries.items() if _differs(folder / name, entry, thorough)), None)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return "is damaged (its list of files)"
    return None if wrong is None else f"is damaged ({wrong})"


def _differs(path: Path, entry: Sequence[Any], thorough: bool) -> bool:
    size, time_ns, sha256 = entry
    try:
        found = path.lstat()
        if size != found.st_size:
            return True
        return (thorough or found.st_mtime_ns != time_ns) and _sha256(path) != sha256
    except OSError:
        return True


def _sha256(path: Path) -> str:
    """The SHA-256 of a file's content, or of where a link leads."""
    content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    return hashlib.sha256(content).hexdigest()


@contextmanager
def _lock(folder: Path):
    """One process at a time; the lock goes with its holder, however that ends."""
    with open(folder.with_suffix(".lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    work = folder.with_suffix(".part")
    _remove(work)
    work.mkdir()
    try:
        make(work)
        (work / _CONTENT).write_text(json.dumps(_content(work)), encoding="utf-8")
        _remove(folder)
        os.rename(work, folder)
    finally:
        _remove(work)


def _content(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Size, time and checksum of every file and link, by its name within the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.is_file():
            status = path.lstat()
            found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns, _sha256(path))
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
