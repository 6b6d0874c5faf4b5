"""`pfir pack` and `pfir unpack`: a model in its smallest form, and back to the byte."""

from __future__ import annotations

import os
from pathlib import Path

from pfir.compile.workspace import check_file
from pfir.errors import UsageError
from pfir.frontends.onnx.untrusted import read_file
from pfir.frontends.packed import packed, unpacked
from pfir.packing.layout import MOST_BYTES
from pfir.report.wording import ratio, size

MOST_PACKED_BYTES = MOST_BYTES + (1 << 26)
"""Of a packed file: what does not compress, and its directory."""


def pack_file(model: Path, output: Path) -> str:
    """Pack a model with its external data into one file, and say how large it was and is.

    Raises:
        UsageError: The output cannot be written.
        FrontendError: The model cannot be read.
    """
    check_file(output)
    content = packed(model)
    before = model.stat().st_size
    _write(output, content)
    return f"{output}: {size(len(content))}, {ratio(before, len(content))} smaller than {model}"


def unpack_file(file: Path, output: Path) -> str:
    """Write the model of a packed file, and beside it the files that lay beside it before.

    Raises:
        UsageError: A file cannot be written, or one beside the model exists.
        FrontendError: The file is no packed model, or damaged.
    """
    check_file(output)
    (_, model), *others = unpacked(file, read_file(file, MOST_PACKED_BYTES))
    places = [_beside(output, name) for name, _ in others]
    for place, (_, content) in zip(places, others, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(place, content)
    _write(output, model)
    beside = "".join(f", {name}" for name, _ in others)
    return f"{output}{beside}: {size(len(model) + sum(len(c) for _, c in others))}"


def _beside(output: Path, name: str) -> Path:
    """Where a file beside the model goes; a packed file must not choose what is replaced."""
    folder = output.absolute().parent
    place = folder / name
    if not place.resolve().is_relative_to(folder.resolve()) or place.exists():
        raise UsageError(f"{place} exists, and would be replaced by external data; unpack into another folder")
    return place


def _write(path: Path, content: bytes) -> None:
    """Whole, or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
