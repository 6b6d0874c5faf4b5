"""A model on disk: one file, or two above 2 GiB, that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from pfir.errors import UsageError
from pfir.ir.tensors import fill_proto

if TYPE_CHECKING:
    from pfir.ir.model import Model

# A protobuf message ends at 2 GiB; the graph around the arrays needs some of it.
ONE_FILE_BYTES = (1 << 31) - (64 << 20)
_SMALL_BYTES = 1024


def save_model(model: Model, path: Path, one_file_bytes: int = ONE_FILE_BYTES) -> None:
    """Write a model to `path`, and its arrays to `<name>.data` beside it if they exceed `one_file_bytes`.

    Raises:
        UsageError: The folder does not exist, cannot be written to, or is full.
    """
    try:
        _save(model, path, one_file_bytes)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def _save(model: Model, path: Path, one_file_bytes: int) -> None:
    if model.source is not None:
        _write(path, model.source)
    elif _array_bytes(model) <= one_file_bytes:
        _write(path, model.to_bytes())
    else:
        _write_both(model, path)


def _array_bytes(model: Model) -> int:
    return sum(t._values.nbytes for t in model.initializers().values())


def _write(path: Path, data: bytes) -> None:
    with _whole(path) as file:
        file.write(data)


def _write_both(model: Model, path: Path) -> None:
    """The data file takes its name first, so the model never names a file that is not there."""
    data_path = path.with_name(path.name + ".data")
    with _whole(path) as file:
        with _whole(data_path) as data:
            proto = model.for_a_file().to_proto(lambda tensor, array: _outside(tensor, array, data, data_path.name))
        file.write(proto.SerializeToString())


def _outside(tensor: TensorProto, array: np.ndarray, data: IO[bytes], location: str) -> None:
    """Put large numeric arrays into the data file; the rest stays in the tensor."""
    if array.nbytes < _SMALL_BYTES or array.dtype.kind not in "fiub":
        fill_proto(tensor, array)
        return
    fill_proto(tensor, np.empty(0, array.dtype))
    tensor.ClearField("raw_data")
    tensor.dims[:] = array.shape
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": str(data.tell()), "length": str(array.nbytes)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    data.write(np.ascontiguousarray(array).data)


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only when all of it is on disk."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
