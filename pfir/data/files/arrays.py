"""Samples held in arrays: one per model input, and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.data.files.stored import StoredArray, content_hash
from pfir.data.labels import Values, are_values, checked_labels, checked_targets
from pfir.data.layout import Fit, fit
from pfir.data.preprocess import Preprocess
from pfir.errors import DataError

Array = np.ndarray | StoredArray
_LABELS = "y"
_SINGLE = "x"
_BLOCK_ROWS = 256


class ArrayDataset(Dataset):
    """The rows of arrays, fitted to the model's inputs.

    Args:
        arrays: By key: an input's name, or x where there is one input; y for labels. Other keys are left aside.
        inputs: What the model takes.
        preprocess: For raw integers; float values are used as given.
        where: The file or function they come from, for errors.
        values: The shape of one sample of the model's only output, which floats y may give; None where y can be
            nothing but class indices.

    Raises:
        DataError: An array is missing, has no samples, another count, NaN, or does not suit its input.
    """

    kind = "given"

    def __init__(
        self,
        arrays: Mapping[str, Array],
        inputs: Sequence[TensorSpec],
        preprocess: Preprocess | None,
        where: str,
        values: Values | None = None,
    ) -> None:
        self._arrays = {spec.name: _array_for(spec, arrays, inputs, where) for spec in inputs}
        self._preprocess = preprocess
        self.inputs = tuple(self._arrays)
        self._fits = {spec.name: self._fit(spec, where) for spec in inputs}
        counts = {name: len(array) for name, array in self._arrays.items()}
        if len(set(counts.values())) != 1:
            raise DataError(f"{where}: the inputs have different counts of samples: {counts}")
        self._count = next(iter(counts.values()))
        if self._count == 0:
            raise DataError(f"{where}: holds no samples")
        for spec in inputs:
            _refuse_not_finite(self._arrays[spec.name], np.dtype(spec.dtype), f"{where}: {spec.name}")
        y = arrays.get(_LABELS)
        if y is not None and values is not None and are_values(y, values):
            self.labels, self.targets = None, checked_targets(y, self._count, values, where)
        else:
            self.labels = None if y is None else checked_labels(y, self._count, where)
        self.notes = _notes(self._arrays, preprocess, where)
        self._hash: str | None = None

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: self._fits[name](array[np.asarray(indices)]) for name, array in self._arrays.items()}

    def fingerprint(self) -> str:
        if self._hash is None:
            arrays: dict[str, np.ndarray | StoredArray] = {f"input {n}": a for n, a in self._arrays.items()}
            given = self.labels if self.targets is None else self.targets
            content = content_hash(arrays if given is None else arrays | {_LABELS: given})
            fits = repr(sorted((name, repr(f)) for name, f in self._fits.items()))
            self._hash = hashlib.sha256((content + fits).encode()).hexdigest()
        return self._hash

    def _fit(self, spec: TensorSpec, where: str) -> Fit:
        array = self._arrays[spec.name]
        return fit(tuple(array.shape[1:]), array.dtype, spec, self._preprocess, f"{where}: {spec.name}")


def _array_for(spec: TensorSpec, arrays: Mapping[str, Array], inputs: Sequence[TensorSpec], where: str) -> Array:
    names = [spec.name, _SINGLE] if len(inputs) == 1 else [spec.name]
    for name in names:
        if name in arrays:
            return arrays[name]
    found = ", ".join(arrays) or "nothing"
    if len(inputs) == 1:
        raise DataError(f"{where}: no array {' or '.join(names)} for the model's input; found {found}")
    saved = ", ".join(f"{s.name}=.." if s.name.isidentifier() else f"**{{{s.name!r}: ..}}" for s in inputs)
    raise DataError(
        f"{where}: no array {spec.name}; the model has {len(inputs)} inputs and found was {found}; "
        f"write it with numpy.savez(path, {saved}, y=labels)"
    )


def _refuse_not_finite(array: Array, wanted: np.dtype, where: str) -> None:
    """Nothing happens if every value is finite, as the model takes it too: 1e300 is infinite in float32."""
    if array.dtype.kind != "f":
        return
    start = 0
    for block in _blocks(array):
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(block.astype(wanted)))
        if len(bad):
            first = tuple(int(i) for i in bad[0])
            index = [start + first[0], *first[1:]]
            raise DataError(f"{where}: {block[first]} at index {index}; every value must be finite")
        start += len(block)


def _blocks(array: Array):
    if isinstance(array, StoredArray):
        yield from array.blocks()
        return
    for start in range(0, len(array), _BLOCK_ROWS):
        yield array[start : start + _BLOCK_ROWS]


def _notes(arrays: Mapping[str, Array], preprocess: Preprocess | None, where: str) -> tuple[str, ...]:
    if preprocess is None:
        return ()
    given = [name for name, array in arrays.items() if array.dtype.kind == "f"]
    return tuple(f"{where}: {name} holds floats, which are used as given, without preprocessing" for name in given)
