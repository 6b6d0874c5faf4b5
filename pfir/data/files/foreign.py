"""Files that anybody may have made, read so that damage in them is told in one line."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pfir.errors import DataError, PfirError

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_ADDRESS = re.compile(r"(: )?<[^<>]* at 0x[0-9a-f]+>")
_LONGEST = 160  # characters of what a reader says
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA takes as much memory as the file asks for


@contextmanager
def reading(where: str, expected: str) -> Iterator[None]:
    """Whatever the reader of a file format stumbles over becomes a DataError that names the file.

    zipfile, numpy and Pillow document none of what damaged bytes make them raise: zlib.error, TokenError, IndexError,
    UnicodeDecodeError, NotImplementedError and more were seen. So nothing but calls of such readers belongs inside.

    Args:
        where: The file, and the part of it.
        expected: What should have been there: `an .npz file`.

    Raises:
        DataError: Anything went wrong inside.
    """
    try:
        yield
    except PfirError:
        raise
    except Exception as error:
        raise DataError(f"{where}: cannot be read as {expected}: {_told(error)}") from error


def refuse_special(path: Path, where: str) -> None:
    """Nothing happens if the path is a file or a folder: opening a pipe waits for ever.

    Raises:
        DataError: It is something else, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from error
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise DataError(f"{where}: is {name}; data is read from files and folders")


def open_archive(path: Path, expected: str) -> zipfile.ZipFile:
    """The zip archive, to be closed by the caller.

    Raises:
        DataError: It is damaged.
    """
    with reading(str(path), expected):
        return zipfile.ZipFile(path)


def refuse_member(member: zipfile.ZipInfo, where: str) -> None:
    """Nothing happens if a member of a zip archive holds its own content, stored or deflated.

    Raises:
        DataError: It is a link, encrypted, or packed in another way.
    """
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{where}: is a link; links in archives are not followed, put the file itself there")
    if member.flag_bits & 1:
        raise DataError(f"{where}: is encrypted; pack it without a password")
    if member.compress_type not in _METHODS:
        raise DataError(f"{where}: is packed by zip method {member.compress_type}; pack it stored or deflated")


def _told(error: Exception) -> str:
    """What the error says, in one short line; some show an object's address or the bytes that they met."""
    words = " ".join(_ADDRESS.sub("", str(error)).split()) or type(error).__name__
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}.."
