"""Arrays of an .npz file, read in slices without unpacking the file."""

from __future__ import annotations

import hashlib
import os
import shutil
import weakref
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from pfir.data.files.foreign import open_archive, reading, refuse_member
from pfir.errors import DataError
from pfir.system.scratch import scratch_file, scratch_place

_LOCAL_HEADER = 30  # bytes before a zip member's name, where the lengths of name and extra field stand
_BLOCK = 1 << 20  # bytes
_LONGEST_AXIS = 1 << 48
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 500
"""What unpacks to more than a gigabyte, and to so many times its size (zeros give 1030 times), is refused."""


class StoredArray:
    """An array [N, ...] in a file; slices are read when asked for. It pickles as the place, not the content.

    Args:
        path: The file that holds it.
        offset: Of its first byte.
        where: Names it in errors.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype, fortran: bool, where: str):
        self.path, self.offset, self.shape, self.dtype = path, offset, shape, dtype
        self.fortran, self.where = fortran, where
        self._mapped: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray:
        return np.asarray(self._map()[index])

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_mapped": None}

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, about a megabyte at a time."""
        size = max(1, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize)
        step = max(1, _BLOCK // size)
        for start in range(0, len(self), step):
            yield self[start : start + step]

    def _map(self) -> np.ndarray:
        if self._mapped is None:
            order: Literal["F", "C"] = "F" if self.fortran else "C"
            with reading(self.where, "the array it was"):
                self._mapped = np.memmap(
                    self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape, order=order
                )
        return self._mapped


def open_npz(path: Path) -> dict[str, StoredArray]:
    """The arrays of an .npz file by key.

    Raises:
        DataError: The file is no .npz, is cut off or a bomb, holds objects, or an array that is longer than declared.
    """
    with open_archive(path, "an .npz file") as archive:
        members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
        if not members:
            raise DataError(f"{path}: holds no arrays; write it with numpy.savez(path, x=..., y=...)")
        return {member.filename[: -len(".npy")]: _member(archive, member, path) for member in members}


def content_hash(arrays: Mapping[str, np.ndarray | StoredArray]) -> str:
    """SHA-256 over names, types, shapes and values, wherever they are stored."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(repr((name, array.dtype.str, tuple(array.shape))).encode())
        for block in array.blocks() if isinstance(array, StoredArray) else (array,):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> StoredArray:
    where = f"{path}: array {member.filename[: -len('.npy')]}"
    refuse_member(member, where)
    with reading(where, "an array"), archive.open(member) as stream:
        shape, fortran, dtype, header = _npy_header(stream)
    _refuse_sizes(shape, where)
    if dtype.hasobject or dtype.kind not in "biufcSUV":
        raise DataError(f"{where}: holds Python objects; pfir never unpickles, save plain numbers")
    if not shape:
        raise DataError(f"{where}: is a single value; samples along a first axis are needed")
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if header + declared != member.file_size:
        raise DataError(f"{where}: declares {declared} bytes and holds {member.file_size - header}")
    if member.compress_type == zipfile.ZIP_STORED:
        start = _data_offset(path, member, where)
        return StoredArray(path, start + header, shape, dtype, fortran, where)
    return _unpacked(archive, member, header, (shape, dtype, fortran), where)


def _npy_header(stream) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, type, and the length of the header in bytes."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return *read(stream), stream.tell()


def _refuse_sizes(shape: tuple[int, ...], where: str) -> None:
    if any(isinstance(n, bool) or not 0 <= n < _LONGEST_AXIS for n in shape):
        raise DataError(f"{where}: its header declares an impossible size in {list(shape)}")


def _data_offset(path: Path, member: zipfile.ZipInfo, where: str) -> int:
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
            raise DataError(f"{where}: the archive is damaged")
        name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        start = member.header_offset + _LOCAL_HEADER + name + extra
        if start + member.file_size > os.fstat(file.fileno()).st_size:
            raise DataError(f"{where}: the file is cut off")
    return start


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: int, form: tuple, where: str) -> StoredArray:
    """A deflated array as a temporary file, since its rows cannot be reached one by one; removed with the array."""
    _refuse_bomb(member, where)
    place = scratch_place()
    free = shutil.disk_usage(place).free
    if member.file_size > free // 2:
        raise DataError(
            f"{where}: is compressed and needs {member.file_size >> 20} MiB in {place}, where "
            f"{free >> 20} MiB are free; save it with numpy.savez instead of savez_compressed"
        )
    name = scratch_file(".npy")
    try:
        with reading(where, "a deflated array"), name.open("wb") as file, archive.open(member) as stream:
            shutil.copyfileobj(stream, file, _BLOCK)
    except BaseException:
        name.unlink()
        raise
    shape, dtype, fortran = form
    array = StoredArray(name, header, shape, dtype, fortran, where)
    _remove_at_end(array, name)
    return array


def _refuse_bomb(member: zipfile.ZipInfo, where: str) -> None:
    if member.file_size > max(_BOMB_BYTES, _BOMB_RATIO * member.compress_size):
        raise DataError(
            f"{where}: {member.compress_size >> 10} KiB unpack to {member.file_size >> 20} MiB, as a zip bomb does; "
            "if it is none, save it with numpy.savez instead of savez_compressed"
        )


def _remove_at_end(array: StoredArray, name: Path) -> None:
    """Only the process that made the file removes it: a forked worker shares it."""
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            name.unlink(missing_ok=True)

    weakref.finalize(array, remove)
