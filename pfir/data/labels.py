"""Labels checked on their way in."""

from __future__ import annotations

import numpy as np

from pfir.data.files.stored import StoredArray
from pfir.errors import DataError

_MOST_CLASSES = 1 << 31


def checked_labels(y: np.ndarray | StoredArray, count: int, where: str) -> np.ndarray:
    """Class indices int64 [count], read only if there are so many.

    Raises:
        DataError: They are no whole numbers, of another count, negative, or too large for a class.
    """
    if len(y.shape) != 1 and tuple(y.shape[1:]) != (1,):
        raise DataError(f"{where}: labels y are {list(y.shape)}; one class index per sample is needed (not one-hot)")
    if len(y) != count:
        raise DataError(f"{where}: {len(y)} labels y for {count} samples")
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where}: labels y are of type {y.dtype}; class indices are needed")
    y = np.asarray(y[:]).reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(y) | (y != np.floor(y)) | (y < 0) | (y >= _MOST_CLASSES))
    if len(wrong):
        raise DataError(f"{where}: label {y[wrong[0]]} at index {wrong[0]} is no class index (0, 1, ..)")
    return y.astype(np.int64)


def refuse_labels_above(labels: np.ndarray, classes: int, where: str) -> None:
    """Nothing happens if all labels are below the number of classes.

    Raises:
        DataError: One is not.
    """
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        found = f"label {labels[wrong[0]]} at index {wrong[0]}"
        raise DataError(f"{where}: {found} lies outside the model's {classes} classes 0..{classes - 1}")
