"""Samples from a user's Python function."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.data.files.arrays import ArrayDataset
from pfir.data.files.foreign import reading
from pfir.data.labels import Values
from pfir.data.preprocess import Preprocess
from pfir.errors import DataError


def from_function(
    name: str, inputs: Sequence[TensorSpec], preprocess: Preprocess | None, values: Values | None = None
) -> Dataset:
    """The samples that `module:function` gives; the module is looked for in the working folder too.

    The function takes no arguments and returns, or yields batch by batch: an array x [N, ...], a pair (x, y), or a
    dictionary of arrays by input name with y for labels. It may also return a `Dataset`.

    Args:
        values: As `ArrayDataset` takes it.

    Raises:
        DataError: It cannot be imported or called, or gives something else.
    """
    made = _called(name)
    if isinstance(made, Dataset):
        return made
    return ArrayDataset(_joined(made, name), inputs, preprocess, name, values)


def _called(name: str):
    module, _, function = name.partition(":")
    # Last, so that nothing but this module is taken from there in place of an installed one.
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        made = getattr(_module(module, here), function)()
        whole = isinstance(made, (Dataset, np.ndarray, tuple, Mapping))
        return made if whole else [made] if hasattr(made, "shape") else list(made)
    except KeyboardInterrupt:  # of the user, who wants to stop
        raise
    except (
        BaseException
    ) as error:  # the user's code may raise anything, and sys.exit must not end pfir as if all were well
        raise DataError(f"{name}: {f'{type(error).__name__}: {error}'.rstrip(': ')}") from error
    finally:
        sys.path.remove(here)


def _module(name: str, folder: str) -> ModuleType:
    """The module, from the folder where there is one of its name."""
    top = name.partition(".")[0]
    found = None if top in sys.modules else PathFinder.find_spec(top, [folder])
    if found is not None and found.loader is not None:
        sys.modules[top] = module_from_spec(found)
        try:
            found.loader.exec_module(sys.modules[top])
        except BaseException:
            del sys.modules[top]
            raise
    return importlib.import_module(name)


def _joined(made, name: str) -> dict[str, np.ndarray]:
    batches = [_arrays(part, name) for part in (made if isinstance(made, list) else [made])]
    if not batches:
        raise DataError(f"{name}: gives no samples")
    if any(batch.keys() != batches[0].keys() for batch in batches):
        raise DataError(f"{name}: its batches have different keys")
    try:
        return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    except ValueError as error:
        raise DataError(f"{name}: its batches do not fit together: {error}") from error


def _arrays(part, name: str) -> dict[str, np.ndarray]:
    if isinstance(part, tuple) and len(part) == 2:
        part = {"x": part[0], "y": part[1]}
    if not isinstance(part, Mapping):
        part = {"x": part}
    with reading(name, "arrays"):
        arrays = {str(key): np.asarray(value) for key, value in part.items()}
    for key, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            found = f"{array.dtype} {list(array.shape)}"
            raise DataError(f"{name}: {key} is {found}; an array of numbers [N, ...] is needed")
    return arrays
