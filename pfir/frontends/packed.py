"""Packed models: read wherever an ONNX file is, and made of one with the files that lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from pfir.errors import FrontendError
from pfir.frontends.onnx.external_data import ExternalData
from pfir.frontends.onnx.untrusted import read_file
from pfir.names import visible
from pfir.packing.layout import MAGIC, MOST_BYTES
from pfir.packing.wire import LEAST_BYTES, File, Values, values_at, values_within


def read_model(path: Path) -> bytes:
    """The serialized ONNX model in a file, which may be packed.

    Raises:
        FrontendError: As `read_file`; a packed file is damaged, or holds files that must lie beside the model.
    """
    content = read_file(path)
    if not content.startswith(MAGIC):
        return content
    files = unpacked(path, content)
    if len(files) > 1:
        raise FrontendError(f"{str(path)!r} holds external data beside its model; unpack it first with `pfir unpack`")
    return files[0][1]


def unpacked(path: Path, content: bytes) -> tuple[tuple[str, bytes], ...]:
    """The files in a packed one, the model first, which has no name; other names are relative and lead nowhere else.

    Raises:
        FrontendError: The file is no packed model, damaged, or of a newer version.
    """
    from pfir.packing.unpacking import unpack

    with _told(path):
        files = unpack(content)
        for name, _ in files[1:]:
            _check_name(name)
        return files


def packed(path: Path) -> bytes:
    """An ONNX file with its external data, packed.

    Raises:
        FrontendError: It cannot be read, is no ONNX model, or too large.
    """
    from pfir.packing.packing import pack

    content = read_file(path)
    with _told(path):
        if content.startswith(MAGIC):
            raise FrontendError("it is packed already")
        within, outside = values_within(content)
        return pack((File("", content, tuple(within)), *_beside(path.parent, outside)))


def _beside(folder: Path, tensors: Iterable[TensorProto]) -> list[File]:
    """The files with external data, and where tensors lie in them."""
    reader, found = ExternalData(folder), dict[str, tuple[Path, list[Values]]]()
    for tensor in tensors:
        path, offset, size = reader.check(tensor)
        location = next(e.value for e in tensor.external_data if e.key == "location")
        _, values = found.setdefault(PurePosixPath(location).as_posix(), (path, []))
        values.append(values_at(offset, size, tensor.data_type))
    if sum(path.stat().st_size for path, _ in found.values()) > MOST_BYTES:
        raise FrontendError("its external data takes more than 4 GiB, which is the most that is packed")
    return [File(name, path.read_bytes(), _apart(values)) for name, (path, values) in found.items()]


def _apart(values: Iterable[Values]) -> tuple[Values, ...]:
    """Values in the order of the file; of those that overlap the first, and none that are too few."""
    found: list[Values] = []
    for each in sorted(values, key=lambda v: v.start):
        if each.end - each.start >= LEAST_BYTES and (not found or each.start >= found[-1].end):
            found.append(each)
    return tuple(found)


def _check_name(name: str) -> None:
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    if "\x00" in name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in parts:
        raise FrontendError(f"it holds a file {name!r}, which would lie outside the model's folder")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of which file a refusal is."""
    try:
        yield
    except FrontendError as error:
        raise FrontendError(visible(f"{str(path)!r}: {error}")) from error
