"""The state of a training on disk: one .npz without pickles, replaced whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pfir.data.files.foreign import reading
from pfir.data.files.stored import content_hash
from pfir.errors import DataError

_FACTS, _DIGEST = "facts", "digest"


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
    facts = np.frombuffer(json.dumps(state.facts).encode(), np.uint8)
    arrays = {**state.arrays, _FACTS: facts}
    sealed: dict[str, Any] = {**arrays, _DIGEST: _digest(arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, **sealed)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, key: str) -> State | None:
    """The state of the training with this key; None if there is none.

    Raises:
        DataError: The file is not a checkpoint, or damaged.
    """
    if not path.exists():
        return None
    try:
        return _loaded(path, key)
    except DataError as error:
        raise DataError(f"{error}; remove it to train from the start") from error


def _loaded(path: Path, key: str) -> State | None:
    with reading(str(path), "a checkpoint of pfir"), path.open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
        digest = arrays.pop(_DIGEST)
        if not np.array_equal(digest, _digest(arrays)):
            raise DataError(f"{path}: is a damaged checkpoint of pfir")
        facts = json.loads(arrays.pop(_FACTS).tobytes())
        return State(arrays, facts) if facts.get("key") == key else None


def _digest(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """SHA-256 as bytes: the archive's own checksums cover neither names nor what is missing."""
    return np.frombuffer(hashlib.sha256(content_hash(arrays).encode()).digest(), np.uint8)
