"""The standard streams, whatever became of them: closed, full, or with a reader that has gone away."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Lasting(io.FileIO):
    """A stream to write to that never fails: after the first error what is written is dropped.

    A run that takes minutes must not end because nobody reads its progress any more.
    """

    error: OSError | None = None

    def write(self, content: ReadableBuffer) -> int:
        """Write, or keep the error and drop the content."""
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes


def secure() -> Lasting | None:
    """Make the standard streams of this process last; the raw stdout, or None where somebody else has put one in place.

    A stream that was closed before the program began becomes the null device. Otherwise the next file that is opened
    would take its number, and what a library prints to stderr would end up in that file.
    """
    for number in (0, 1, 2):
        _open_if_closed(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    raw = None
    if sys.stdout is sys.__stdout__:
        raw = _replaced("stdout", 1)
    if sys.stderr is sys.__stderr__:
        _replaced("stderr", 2)
    return raw


def trouble(raw: Lasting | None) -> str | None:
    """Why not all of stdout was written, in words; None where all was, or where its reader went away."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error.strerror
    kept = None if raw is None else raw.error
    return None if kept is None or kept.errno == errno.EPIPE else kept.strerror


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _replaced(name: str, number: int) -> Lasting:
    """The raw stream that stands behind `sys.<name>`, and behind what Python keeps of it, from now on."""
    raw, text = _lasting(number, getattr(sys, name))
    for place in (name, f"__{name}__"):
        setattr(sys, place, text)
    return raw


def _lasting(number: int, before: TextIO | None) -> tuple[Lasting, io.TextIOWrapper]:
    """The raw stream and the text stream on it, with the encoding of the one before."""
    raw = Lasting(number, "w", closefd=False)
    encoding = before.encoding if before is not None else "utf-8"
    errors = "backslashreplace" if number == 2 or before is None else before.errors
    buffered = io.BufferedWriter(raw)
    return raw, io.TextIOWrapper(buffered, encoding, errors, line_buffering=number == 2 or raw.isatty())
