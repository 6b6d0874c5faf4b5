"""Data of a user, whatever form it has."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.data.classes import ClassNames
from pfir.data.files.arrays import ArrayDataset
from pfir.data.files.foreign import open_archive, reading, refuse_special
from pfir.data.files.image_files import FolderFiles, ZipFiles
from pfir.data.files.images import ImageFolder
from pfir.data.files.kinds import kind_of
from pfir.data.files.stored import open_npz
from pfir.data.function import from_function
from pfir.data.kept import KeptDataset
from pfir.data.labels import Values, refuse_labels_above
from pfir.data.origin import Opened
from pfir.data.preprocess import Preprocess
from pfir.errors import DataError

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_FILE_FUNCTION = re.compile(r"(?P<file>.*\.py):(?P<function>\w+)")
_EXPECTED = "an .npz file or a .zip of images"


def open_data(
    path: str | Path,
    inputs: Sequence[TensorSpec],
    preprocess: Preprocess | None = None,
    classes: int | None = None,
    names: ClassNames | None = None,
    values: Values | None = None,
) -> Dataset:
    """The samples of an .npz file, a folder of images (or a .zip of one), or a Python function.

    Args:
        path: `data.npz` with arrays x (or the inputs' names) and perhaps y; a folder or .zip with one subfolder per
            class; or `module:function`, which alone runs code of the user.
        inputs: What the model takes.
        preprocess: For raw images of a model that takes floats.
        classes: How many the model tells apart; labels are then checked against it.
        names: Which index each class folder of images has; without them they count in the order of sorted names.
        values: The shape of one sample of the model's only output, which floats y may give in place of classes.

    Raises:
        DataError: What cannot be read or does not suit the model: which file, where, what to do.
    """
    dataset = _opened(path, inputs, preprocess, classes, names, values)
    if classes is not None and dataset.labels is not None:
        refuse_labels_above(dataset.labels, classes, str(path))
    if _exists(Path(path)):
        read = None if preprocess is None else str(preprocess)
        named = None if names is None else str(Path(names.path).absolute())
        dataset.origin = Opened(str(Path(path).absolute()), tuple(inputs), read, classes, named)
    return dataset


def _opened(
    path: str | Path,
    inputs: Sequence[TensorSpec],
    preprocess: Preprocess | None,
    classes: int | None,
    names: ClassNames | None,
    values: Values | None,
) -> Dataset:
    place = Path(path)
    if not _exists(place):
        _refuse_names(names, str(path))
        return from_function(_function(str(path)), inputs, preprocess, values)
    refuse_special(place, str(path))
    if place.is_dir():
        return KeptDataset(ImageFolder(FolderFiles(place), inputs, preprocess, str(path), classes, names))
    if not _is_zip(place):
        raise DataError(f"{path}: is {kind_of(place)}; expected {_EXPECTED}")
    if _holds_arrays(place):
        _refuse_names(names, str(path))
        return ArrayDataset(open_npz(place), inputs, preprocess, str(path), values)
    return KeptDataset(ImageFolder(ZipFiles(place), inputs, preprocess, str(path), classes, names))


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero
        raise DataError(f"{place}: cannot be read: {error}") from error


def _function(path: str) -> str:
    """The text, if it has the form of a `module:function`."""
    written = _FILE_FUNCTION.fullmatch(path)
    if written:
        module = written["file"].removesuffix(".py").removeprefix("./").replace("/", ".")
        raise DataError(f"{path}: name the module rather than its file: --data {module}:{written['function']}")
    if not _FUNCTION.fullmatch(path):
        raise DataError(f"{path}: no such file or folder; data is an .npz file, a folder of images, or module:function")
    return path


def _refuse_names(names: ClassNames | None, path: str) -> None:
    if names is not None:
        raise DataError(f"{path}: its labels are class indices already; --classes {names.path} is for image folders")


def _is_zip(path: Path) -> bool:
    with reading(str(path), _EXPECTED):
        return zipfile.is_zipfile(path)


def _holds_arrays(path: Path) -> bool:
    with open_archive(path, "a zip archive") as archive:
        return path.suffix == ".npz" or any(name.endswith(".npy") for name in archive.namelist())
