"""Labels checked on their way in, be they classes or values."""

from __future__ import annotations

import numpy as np

from pfir.data.files.stored import StoredArray
from pfir.errors import DataError

Values = tuple[int | str | None, ...]
"""The shape of an output's values for one sample; what is no number is not known."""

_MOST_CLASSES = 1 << 31
_FIRST = 64


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


def are_values(y: np.ndarray | StoredArray, values: Values) -> bool:
    """Whether y are values of an output of this shape rather than classes: floats, several a sample or of one value."""
    single = len(y.shape) == 1 or tuple(y.shape[1:]) == (1,)
    if y.dtype.kind != "f":
        return False
    return all(v == 1 for v in values) if single else not _is_one_hot(y)


def _is_one_hot(y: np.ndarray | StoredArray) -> bool:
    rows = np.asarray(y[:_FIRST]).reshape(min(len(y), _FIRST), -1)
    return bool(np.isin(rows, (0, 1)).all() and (rows.sum(1) == 1).all())


def checked_targets(y: np.ndarray | StoredArray, count: int, values: Values, where: str) -> np.ndarray:
    """The values of a model's output, float32 [count, *values]; [count] where there is one value a sample.

    Raises:
        DataError: They have another count or shape than the output, or are not finite.
    """
    shape = tuple(y.shape[1:]) or (1,) * len(values)
    if len(y) != count:
        raise DataError(f"{where}: {len(y)} values y for {count} samples")
    if len(shape) != len(values) or any(isinstance(v, int) and v != s for s, v in zip(shape, values, strict=True)):
        wanted = ", ".join("?" if not isinstance(v, int) else str(v) for v in values)
        raise DataError(f"{where}: values y are {list(y.shape)}; the model's output is [N, {wanted}]")
    found = np.asarray(y[:]).astype(np.float32).reshape(count, *shape)
    wrong = np.argwhere(~np.isfinite(found))
    if len(wrong):
        raise DataError(f"{where}: y is {found[tuple(wrong[0])]} at index {wrong[0].tolist()}; values must be finite")
    return found


def refuse_labels_above(labels: np.ndarray, classes: int, where: str) -> None:
    """Nothing happens if all labels are below the number of classes.

    Raises:
        DataError: One is not.
    """
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        found = f"label {labels[wrong[0]]} at index {wrong[0]}"
        raise DataError(f"{where}: {found} lies outside the model's {classes} classes 0..{classes - 1}")
