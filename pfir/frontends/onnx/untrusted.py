"""What a file is that was given as a model, told from its first bytes, so that a refusal can name it."""

from __future__ import annotations

import os
from pathlib import Path

from pfir.errors import FrontendError, with_export
from pfir.frontends.foreign import Foreign, foreign_file, foreign_folder, foreign_name
from pfir.frontends.onnx.nearby import nearby
from pfir.packing.layout import MAGIC

LARGEST_FILE_BYTES = 1 << 31
_HEAD_BYTES = 1024

_KINDS = (
    (0, b"version https://git-lfs", "a git-lfs pointer, not the model itself; fetch it with `git lfs pull`"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x1f\x8b", "compressed with gzip; decompress it first"),
    (0, b"\xfd7zXZ\x00", "compressed with xz; decompress it first"),
    (0, b"BZh", "compressed with bzip2; decompress it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it first"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4; decompress it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-zip archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"\x93NUMPY", "a NumPy array, no model"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x7fELF", "a program or library"),
)
# The first byte of a serialized ModelProto: field number and wire type of one of its fields.
_STARTS = frozenset(b"\x08\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca\xd2")


def read_file(path: Path, most: int = LARGEST_FILE_BYTES) -> bytes:
    """The content of a file that may be an ONNX model, or a packed one.

    Args:
        most: Bytes that it may have.

    Raises:
        FrontendError: It is missing, no regular file, unreadable, empty, too large for ONNX, or plainly something else.
    """
    _check_place(path, most)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            _check_head(path, head)
            return head + file.read()
    except OSError as error:
        raise FrontendError(f"{_shown(path)} cannot be read: {error.strerror or error}") from error


def _check_place(path: Path, most: int) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise FrontendError(f"{_shown(path)} does not exist{nearby(path)}") from None
    except (OSError, ValueError) as error:
        raise FrontendError(f"{_shown(path)} cannot be read: {error}") from error
    if path.is_dir():
        _refuse(path, foreign_folder(path))
        raise FrontendError(f"{_shown(path)} is a directory; name the .onnx file in it")
    if not path.is_file():
        raise FrontendError(f"{_shown(path)} is no regular file")
    if found.st_size == 0:
        raise FrontendError(f"{_shown(path)} is empty")
    if found.st_size > most:
        raise FrontendError(f"{_shown(path)} is {found.st_size / 2**30:.1f} GiB; one ONNX file ends at 2 GiB")


def _check_head(path: Path, head: bytes) -> None:
    if head.startswith(MAGIC):
        return
    _refuse(path, foreign_file(path, head))
    kind = kind_of(head)
    if kind is not None:
        refuse_by_name(path)
        raise FrontendError(f"{_shown(path)} is {kind}")


def refuse_by_name(path: Path) -> None:
    """Raise what a file is by its name, once it is known to be no ONNX model."""
    _refuse(path, foreign_name(path))


def _refuse(path: Path, found: Foreign | None) -> None:
    """Raise what the file is, if that is known."""
    if found is not None:
        raise with_export(FrontendError(f"{_shown(path)} is {found.words}"), found.export)


def kind_of(head: bytes) -> str | None:
    """What the first bytes show, in words; None if they may begin an ONNX model."""
    for offset, magic, words in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return words
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")):
        return "an HTML or XML page, no model; was it downloaded from a web page's address?"
    if head[0] in _STARTS and not _is_text(head):
        return None
    return "plain text, no ONNX model" if _is_text(head) else "no ONNX model: its first bytes are none of ONNX's"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-3].decode() if len(head) == _HEAD_BYTES else head.decode()
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)


def _shown(path: Path) -> str:
    """The path with control characters escaped."""
    return repr(os.fspath(path))
