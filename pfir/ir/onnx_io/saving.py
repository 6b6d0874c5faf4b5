"""A model on disk: one file, or two above 2 GiB, that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto

from pfir.errors import UsageError
from pfir.ir.onnx_io.tensors import fill_proto

# A protobuf message ends at 2 GiB; the graph around the arrays needs some of it.
ONE_FILE_BYTES = (1 << 31) - (64 << 20)
_SMALL_BYTES = 1024


class Saved(Protocol):
    """What saving asks of a model, which is `pfir.ir.model.Model`."""

    source: bytes | None
    source_runs: bool

    def initializers(self) -> dict[str, gs.Constant]: ...

    def to_bytes(self) -> bytes: ...

    def to_proto(self, fill: Callable[[TensorProto, np.ndarray], None]) -> ModelProto: ...

    def for_a_file(self) -> Saved: ...


def save_model(
    model: Saved, path: Path, one_file_bytes: int = ONE_FILE_BYTES, check: Callable[[Path], None] = lambda path: None
) -> None:
    """Write a model to `path`, and its arrays to `<name>.data` beside it if they exceed `one_file_bytes`.

    Args:
        model: What to write.
        path: The place where it appears, whole or not at all.
        one_file_bytes: What one file may hold.
        check: Called with the finished file before that takes its place; if it raises, nothing appears.

    Raises:
        UsageError: The folder does not exist, cannot be written to, or is full.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"cannot write {str(path)!r}: it is no regular file, and would be replaced by one")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:100]}.", dir=path.parent) as stage:
            files = _write(model, Path(stage) / path.name, one_file_bytes)
            check(files[-1])
            for file in files:
                os.replace(file, path.with_name(file.name))
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def _write(model: Saved, path: Path, one_file_bytes: int) -> tuple[Path, ...]:
    """Write the files, the model last: it never names a file that has not taken its place yet."""
    source = model.source if model.source_runs else None
    if source is None and _array_bytes(model) > one_file_bytes:
        return _write_both(model, path)
    with _on_disk(path) as file:
        file.write(model.to_bytes() if source is None else source)
    return (path,)


def _array_bytes(model: Saved) -> int:
    return sum(t._values.nbytes for t in model.initializers().values())


def _write_both(model: Saved, path: Path) -> tuple[Path, ...]:
    data_path = path.with_name(path.name + ".data")
    with _on_disk(path) as file, _on_disk(data_path) as data:
        proto = model.for_a_file().to_proto(lambda tensor, array: _outside(tensor, array, data, data_path.name))
        file.write(proto.SerializeToString())
    return data_path, path


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
def _on_disk(path: Path) -> Iterator[IO[bytes]]:
    """A new file, all of which is on disk afterwards."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
