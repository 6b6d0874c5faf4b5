"""The teacher's outputs by view and sample, each computed once: in memory, or in files that a resumed training maps."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

Arrays = dict[str, np.ndarray]

MOST_KEPT_BYTES = 512 * 2**20
"""Outputs are kept up to this size, over all views."""
_SEAL = "seal"
_BLOCK = 2**20


class Answering(Protocol):
    """What computes outputs for inputs."""

    def outputs(self, arrays: Arrays) -> Arrays:
        """By name, `[N, ...]`, for inputs `[N, ...]`."""


class Remembered:
    """The teacher's outputs by view and sample, each computed once.

    Args:
        teacher: Asked for what is not known.
        count: Of samples.
        folder: Where outputs are kept, a file per view; None for memory. A folder that cannot be written, or is full,
            is left alone, and what no longer fits is asked for every time.
        key: Whose answers to what; files of other ones are made anew.

    Attributes:
        notes: What a user should know.
    """

    def __init__(self, teacher: Answering, count: int, folder: Path | None = None, key: str = "") -> None:
        self._teacher, self._count, self._folder, self._key = teacher, count, folder, key
        self._views: dict[int, _Rows | None] = {}
        self._left = MOST_KEPT_BYTES
        self.notes: tuple[str, ...] = ()

    def outputs(self, indices: np.ndarray, view: int, arrays: Arrays) -> Arrays:
        """The outputs for these samples, whose inputs, seen this way, are `arrays`."""
        kept = self._views.get(view)
        if kept and kept.known[indices].all():
            return kept.read(indices)
        fresh = self._teacher.outputs(arrays)
        kept = self._room(view, fresh)
        if kept:
            kept.write(indices, fresh)
        return fresh

    def _room(self, view: int, fresh: Arrays) -> _Rows | None:
        """A place for the outputs of all samples; None where that takes more than is left."""
        if view not in self._views:
            record = _record(fresh)
            size = record.itemsize * self._count
            fits = size <= self._left
            self._left -= size * fits
            self._views[view] = self._rows(view, record) if fits else None
        return self._views[view]

    def _rows(self, view: int, record: np.dtype) -> _Rows | None:
        if self._folder is None:
            return _Rows(np.zeros(self._count, record))
        try:
            return _Rows(_mapped(self._folder / f"{view}.bin", f"{self._key} {view}", record, self._count))
        except OSError as error:
            text = f"the teacher's answers are not kept, which makes training slower: {error.strerror or error}"
            self.notes = self.notes or (text,)
            self._left = 0
            return None


class _Rows:
    """One view's outputs, a record per sample that ends in a checksum; records whose checksum is wrong are unknown."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self._names = [name for name in rows.dtype.names or () if name != _SEAL]
        sealed = np.flatnonzero(rows[_SEAL])
        self.known = np.zeros(len(rows), bool)
        self.known[sealed] = _seals(rows[sealed]) == rows[_SEAL][sealed]

    def read(self, indices: np.ndarray) -> Arrays:
        found = self._rows[indices]
        return {name: np.ascontiguousarray(found[name]) for name in self._names}

    def write(self, indices: np.ndarray, outputs: Arrays) -> None:
        fresh = np.zeros(len(indices), self._rows.dtype)
        for name, x in outputs.items():
            fresh[name] = x
        fresh[_SEAL] = _seals(fresh)
        self._rows[indices] = fresh
        self.known[indices] = True


def _record(outputs: Arrays) -> np.dtype:
    fields = [(name, x.dtype.str, x.shape[1:]) for name, x in outputs.items()]
    return np.dtype([*fields, (_SEAL, "<u4")])


def _seals(rows: np.ndarray) -> np.ndarray:
    """CRC-32 of each record but for its seal, uint32 [N]; never 0, which stands for a record that was not written."""
    size = rows.dtype.itemsize
    data = memoryview(np.ascontiguousarray(rows).tobytes())
    starts = range(0, len(rows) * size, size)
    return np.array([zlib.crc32(data[at : at + size - 4]) or 1 for at in starts], np.uint32)


def _mapped(path: Path, key: str, record: np.dtype, count: int) -> np.ndarray:
    """The records in this file, which is made anew if it is not one of this key and size.

    Raises:
        OSError: It cannot be written.
    """
    head = hashlib.sha256(f"{key} {record.descr} {count}".encode()).digest()
    size = len(head) + record.itemsize * count
    if not _is_of(path, head, size):
        _make(path, head, size)
    return np.memmap(path, record, "r+", len(head), (count,))


def _is_of(path: Path, head: bytes, size: int) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _make(path: Path, head: bytes, size: int) -> None:
    """A file of zeros behind the head, all written: a map of a file with holes dies where the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(head)
            for at in range(len(head), size, _BLOCK):
                file.write(bytes(min(_BLOCK, size - at)))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
