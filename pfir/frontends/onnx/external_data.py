"""Tensors whose values lie in files beside the model, read only from inside the model's folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from onnx import SparseTensorProto, TensorProto

from pfir.errors import FrontendError
from pfir.ir.onnx_io.tensors import check_size, fill_proto, numpy_dtype, stored_bytes, to_array


@dataclass(frozen=True)
class ExternalData:
    """Reads tensors of a model, from the message or from a file in the model's folder.

    Args:
        folder: Where the model lies; nothing outside it is opened.
    """

    folder: Path

    def read(self, tensor: TensorProto) -> np.ndarray:
        """The values, read-only, as `pfir.ir.onnx_io.tensors.to_array` gives them.

        Raises:
            FrontendError: The place is outside the folder, missing or too short, or contradicts the declared shape.
        """
        if tensor.data_location != TensorProto.EXTERNAL:
            return to_array(tensor)
        path, offset, size = self.check(tensor)
        return _values(tensor, path, offset, size)

    def files(self, tensors: Iterable[TensorProto | SparseTensorProto]) -> tuple[Path, ...]:
        """The files that hold these tensors' values, each once; none for those in the message.

        Raises:
            FrontendError: As `read`.
        """
        outside = (t for t in parts(tensors) if t.data_location == TensorProto.EXTERNAL)
        return tuple(dict.fromkeys(self.check(t)[0] for t in outside))

    def bring_in(self, tensors: Iterable[TensorProto | SparseTensorProto]) -> None:
        """External values are part of their messages afterwards.

        Raises:
            FrontendError: As `read`.
        """
        for part in parts(tensors):
            if part.data_location == TensorProto.EXTERNAL:
                self._bring_in(part)

    def _bring_in(self, tensor: TensorProto) -> None:
        array = self.read(tensor)
        for field in ("data_location", "external_data", "data_type", "dims"):
            tensor.ClearField(field)
        fill_proto(tensor, array)

    def check(self, tensor: TensorProto) -> tuple[Path, int, int]:
        """The file, offset and size in bytes of a tensor's values, with nothing read yet.

        Raises:
            FrontendError: As `read`.
        """
        place = _place(tensor)
        expected = _expected_bytes(tensor)
        if place.length is not None and place.length != expected:
            raise FrontendError(f"{_what(tensor)} needs {expected} bytes but declares {place.length} of external data")
        path = self._inside(tensor, place.location)
        size = path.stat().st_size
        if place.offset + expected > size:
            raise FrontendError(
                f"{_what(tensor)}: its external data {place.location!r} is too short, {size} bytes where "
                f"{place.offset + expected} are needed"
            )
        return path, place.offset, expected

    def _inside(self, tensor: TensorProto, location: str) -> Path:
        if not location or "\x00" in location:
            raise FrontendError(f"{_what(tensor)} names no file for its external data")
        parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
        if PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor or ".." in parts:
            raise FrontendError(f"{_what(tensor)}: its external data {location!r} lies outside the model's folder")
        path = self.folder / location
        return self._resolved(tensor, path, location)

    def _resolved(self, tensor: TensorProto, path: Path, location: str) -> Path:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else "cannot be opened"
            raise FrontendError(f"{_what(tensor)}: its external data {location!r} {reason}") from error
        if not real.is_relative_to(self.folder.resolve()):
            raise FrontendError(
                f"{_what(tensor)}: its external data {location!r} leads outside the model's folder through a link"
            )
        if not real.is_file():
            raise FrontendError(f"{_what(tensor)}: its external data {location!r} is no regular file")
        return real


def _values(tensor: TensorProto, path: Path, offset: int, size: int) -> np.ndarray:
    raw = np.fromfile(path, np.uint8, size, offset=offset)
    dtype = numpy_dtype(tensor.data_type)
    if dtype.itemsize * math.prod(tensor.dims) != size:
        packed = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=raw.tobytes())
        return to_array(packed)
    array = raw.view(dtype).reshape(tuple(tensor.dims))
    array.flags.writeable = False
    return array


def parts(tensors: Iterable[TensorProto | SparseTensorProto]) -> Iterator[TensorProto]:
    """Each tensor; for a sparse one its values and its indices."""
    for tensor in tensors:
        yield from (tensor,) if isinstance(tensor, TensorProto) else (tensor.values, tensor.indices)


@dataclass(frozen=True)
class _Place:
    location: str
    offset: int
    length: int | None


def _place(tensor: TensorProto) -> _Place:
    entries = {e.key: e.value for e in tensor.external_data}
    length = _number(tensor, entries, "length")
    return _Place(entries.get("location", ""), _number(tensor, entries, "offset") or 0, length)


def _number(tensor: TensorProto, entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise FrontendError(f"{_what(tensor)}: the {key} of its external data is {text[:40]!r}, no size")
    return int(text)


def _expected_bytes(tensor: TensorProto) -> int:
    if tensor.data_type == TensorProto.STRING:
        raise FrontendError(f"{_what(tensor)} holds strings, which cannot be external data")
    count = check_size(_what(tensor), tensor.data_type, tuple(tensor.dims))
    return stored_bytes(tensor.data_type, count)


def _what(tensor: TensorProto) -> str:
    return f"tensor {tensor.name!r}"
