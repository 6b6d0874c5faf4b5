"""Data of a user, whatever form it has."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pfir.artifact import TensorSpec
from pfir.data.arrays import ArrayDataset
from pfir.data.base import Dataset
from pfir.data.function import from_function
from pfir.data.images import FolderFiles, ImageFolder, ZipFiles
from pfir.data.kept import KeptDataset
from pfir.data.labels import refuse_labels_above
from pfir.data.preprocess import Preprocess
from pfir.data.stored import open_npz
from pfir.errors import DataError

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KNOWN_STARTS = (
    (b"\x93NUMPY", "a single .npy array; write it with numpy.savez(path, x=...)"),
    (b"version https://git-lfs", "a git-lfs pointer; run git lfs pull first"),
    (b"\x80", "a pickle, and pfir never unpickles; write it with numpy.savez(path, x=...)"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"<", "an HTML or XML page, perhaps a failed download"),
    (b"\x89HDF", "an HDF5 file; write it with numpy.savez(path, x=...)"),
)


def open_data(
    path: str | Path, inputs: Sequence[TensorSpec], preprocess: Preprocess | None = None, classes: int | None = None
) -> Dataset:
    """The samples of an .npz file, a folder of images (or a .zip of one), or a Python function.

    Args:
        path: `data.npz` with arrays x (or the inputs' names) and perhaps y; a folder or .zip with one subfolder per
            class; or `module:function`, which alone runs code of the user.
        inputs: What the model takes.
        preprocess: For raw images of a model that takes floats.
        classes: How many the model tells apart; labels are then checked against it.

    Raises:
        DataError: What cannot be read or does not suit the model: which file, where, what to do.
    """
    dataset = _opened(path, inputs, preprocess)
    if classes is not None and dataset.labels is not None:
        refuse_labels_above(dataset.labels, classes, str(path))
    return dataset


def _opened(path: str | Path, inputs: Sequence[TensorSpec], preprocess: Preprocess | None) -> Dataset:
    place = Path(path)
    if not place.exists():
        if _FUNCTION.fullmatch(str(path)):
            return from_function(str(path), inputs, preprocess)
        raise DataError(f"{path}: no such file or folder; data is an .npz file, a folder of images, or module:function")
    if place.is_dir():
        return KeptDataset(ImageFolder(FolderFiles(place), inputs, preprocess, str(path)))
    if not _is_zip(place):
        raise DataError(f"{path}: is {_what(place)}; expected an .npz file or a .zip of images")
    if _holds_arrays(place):
        return ArrayDataset(open_npz(place), inputs, preprocess, str(path))
    return KeptDataset(ImageFolder(ZipFiles(place), inputs, preprocess, str(path)))


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return path.suffix == ".npz" or any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise DataError(f"{path}: is a damaged zip archive: {error}") from error


def _what(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "empty"
    return next((name for magic, name in _KNOWN_STARTS if start.startswith(magic)), "no zip archive (perhaps cut off)")
