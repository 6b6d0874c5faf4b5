"""A folder's lock: held by one process at a time, and let go when that process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from pfir.errors import UsageError

_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_NOT_SUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def take(path: Path, folder: Path) -> BinaryIO:
    """The lock, held as long as the file that is returned is open; its content is the number of this process.

    Args:
        path: The file that stands for the lock; its folder is made.
        folder: What is locked, for the message.

    Raises:
        UsageError: Another process holds it.
        OSError: The file cannot be written.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+")
        try:
            _lock(file)
        except BlockingIOError:
            raise UsageError(_in_use(file, folder)) from None
        if _is_still(file, path):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            return file
        file.close()  # whoever held it has removed it since: what we locked is no longer there


def _lock(file: BinaryIO) -> None:
    """Lock the file, or raise BlockingIOError; file systems that have no locks go without."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError from error
        if error.errno not in _NOT_SUPPORTED:
            raise


def _is_still(file: BinaryIO, path: Path) -> bool:
    """Whether the path still names the file that is open."""
    try:
        there, ours = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _in_use(file: BinaryIO, folder: Path) -> str:
    file.seek(0)
    number = file.read(20)
    who = f" (process {int(number)})" if number.isdigit() else ""
    file.close()
    return f"another pfir{who} is at work in {folder}; wait for it, end it, or choose another folder with -o"
