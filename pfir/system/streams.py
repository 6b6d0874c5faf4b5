"""The standard streams, whatever became of them: closed, full, or with a reader that has gone away."""

from __future__ import annotations

import errno
import io
import os
import sys


class Lasting(io.FileIO):
    """A stream to write to that never fails: after the first error what is written is dropped.

    A run that takes minutes must not end because nobody reads its progress any more.
    """

    error: OSError | None = None

    def write(self, content) -> int:
        """Write, or keep the error and drop the content."""
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return len(content)


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
        raw, sys.stdout = _lasting(1, sys.stdout)
        sys.__stdout__ = sys.stdout
    if sys.stderr is sys.__stderr__:
        _, sys.stderr = _lasting(2, sys.stderr)
        sys.__stderr__ = sys.stderr
    return raw


def trouble(raw: Lasting | None) -> str | None:
    """Why not all of stdout was written, in words; None where all was, or where its reader went away."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error.strerror
    error = None if raw is None else raw.error
    return None if error is None or error.errno == errno.EPIPE else error.strerror


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _lasting(number: int, before: io.TextIOWrapper | None) -> tuple[Lasting, io.TextIOWrapper]:
    """The raw stream and the text stream on it, with the encoding of the one before."""
    raw = Lasting(number, "w", closefd=False)
    encoding = before.encoding if before is not None else "utf-8"
    errors = "backslashreplace" if number == 2 or before is None else before.errors
    buffered = io.BufferedWriter(raw)
    return raw, io.TextIOWrapper(buffered, encoding, errors, line_buffering=number == 2 or raw.isatty())
