"""The state of a training on disk: one .npz without pickles, replaced whole."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pfir.errors import DataError


@dataclass(frozen=True)
class State:
    """All that a training needs to go on as if it had never stopped.

    Order and augmentation follow from seed and step, so there is no state of a random generator to keep.

    Args:
        arrays: Flat buffers and snapshots by name.
        facts: Numbers and texts that JSON can hold; `key` says which training this belongs to.
    """

    arrays: dict[str, np.ndarray]
    facts: dict


def save(path: Path, state: State) -> None:
    """Write the state; whoever reads sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, facts=np.frombuffer(json.dumps(state.facts).encode(), np.uint8), **state.arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, key: str) -> State | None:
    """The state of the training with this key; None if there is none.

    Raises:
        DataError: The file is not a checkpoint.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {n: file[n] for n in file.files}
        facts = json.loads(arrays.pop("facts").tobytes())
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a checkpoint of pfir ({error}); remove it to train from the start") from error
    return State(arrays, facts) if facts.get("key") == key else None
