"""The trials of a search on disk, one JSON line each, safe against a kill at any time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pfir.errors import UsageError
from pfir.search.problem import Trial
from pfir.space import Space

_FORMAT = 1
_FIELDS = {f.name for f in fields(Trial)}


class Journal:
    """A file that grows by one line for each finished trial, each on disk before the next trial starts.

    Args:
        path: Created if absent; the trials of an existing one are in `trials`. A torn last line is dropped.
        fingerprint: Of the problem.
        space: Of the problem.

    Raises:
        UsageError: The file is the journal of another problem, no journal, damaged, or cannot be written.
    """

    trials: tuple[Trial, ...]

    def __init__(self, path: Path, fingerprint: str, space: Space) -> None:
        self._path = path
        self._names = space.names
        self._header = {"pfir_journal": _FORMAT, "fingerprint": fingerprint, "parameters": list(space.names)}
        lines, whole = _whole_lines(path)
        self._check(lines)
        self.trials = tuple(self._trial(line, number) for number, line in enumerate(lines[1:], start=2))
        try:
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(whole)
            self._file.seek(whole)
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
        if not lines:
            self._write(self._header)

    def append(self, trial: Trial) -> None:
        """The trial is on disk afterwards.

        Raises:
            UsageError: The disk is full or the file cannot be written any more.
        """
        self._write(asdict(trial))

    def close(self) -> None:
        self._file.close()

    def _write(self, record: Mapping[str, object]) -> None:
        try:
            self._file.write(json.dumps(record, allow_nan=False, default=_plain).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _check(self, lines: list[bytes]) -> None:
        if not lines:
            return
        header = _parsed(lines[0])
        if not isinstance(header, dict) or header.get("pfir_journal") != _FORMAT:
            raise UsageError(f"{self._path}: is no search journal of this version; choose another file or remove it")
        if header != self._header:
            raise UsageError(f"{self._path}: is the journal of another problem; choose another folder, or start anew")

    def _trial(self, line: bytes, number: int) -> Trial:
        found = _parsed(line)
        if not _is_trial(found, self._names):
            raise UsageError(f"{self._path}: line {number} is damaged; remove the file to start anew")
        return Trial(**found)


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """The finished lines, and how many bytes they fill: a killed write leaves a line without its end."""
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    whole = content.rfind(b"\n") + 1
    lines = content[:whole].splitlines()
    if len(lines) > 1 and _parsed(lines[-1]) is None:
        whole -= len(lines.pop()) + 1  # blocks of a file can reach the disk out of order
    return lines, whole


def _is_trial(found: object, names: Sequence[str]) -> bool:
    """Whether a line holds what `Trial` does: a value for each parameter, and numbers where numbers are."""
    if not isinstance(found, dict) or found.keys() != _FIELDS:
        return False
    parameters = (found["asked"], found["parameters"])
    if any(not isinstance(p, dict) or set(p) != set(names) or not all(map(_is_number, p.values())) for p in parameters):
        return False
    numbers = (found["number"], found["cost"], found["seconds"])
    scored = found["score"] is None or _is_number(found["score"])
    return scored and all(map(_is_number, numbers)) and isinstance(found["details"], dict)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    """NumPy scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a detail of type {type(value).__name__} does not fit into JSON")
