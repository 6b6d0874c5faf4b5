"""The state of a training on disk: one .npz without pickles, replaced whole, and the one before it."""

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


@dataclass(frozen=True)
class Found:
    """What a training goes on from.

    Args:
        state: None where it starts from the beginning.
        note: What is wrong with a file that was passed over, and what happens instead; None where nothing is.
    """

    state: State | None
    note: str | None = None


def save(path: Path, state: State, keeps_last: bool = True) -> None:
    """Write the state; whoever reads finds this one or the one before it, which stays beside it as `previous(path)`.

    Args:
        path: The file.
        state: What it will hold.
        keeps_last: Whether the file that is there is worth keeping; else it goes, and the one before it stays.

    Raises:
        OSError: It cannot be written; the files that were there stay as they are.
    """
    facts = np.frombuffer(json.dumps(state.facts).encode(), np.uint8)
    arrays = {**state.arrays, _FACTS: facts}
    sealed: dict[str, Any] = {**arrays, _DIGEST: _digest(arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        _write(partial, sealed)
        if keeps_last and path.exists():
            os.replace(path, previous(path))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, key: str) -> Found:
    """The newest state of the training with this key that can be used: that of the file, else of the one before it.

    A file that is damaged, none of ours or of another training is passed over, and the note says so.
    """
    problems: list[str] = []
    for place in (path, previous(path)):
        if not place.exists():
            continue
        try:
            state = _loaded(place, key)
        except DataError as error:
            problems.append(str(error))
            continue
        return Found(
            state, _passed_over(problems, f"training goes on from {place.name}, step {state.facts.get('step')}")
        )
    return Found(None, _passed_over(problems, "training starts from the beginning"))


def previous(path: Path) -> Path:
    """Where the state before the last one is kept."""
    return path.with_name(f"{path.name}.previous")


def _write(path: Path, arrays: dict[str, Any]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def _loaded(path: Path, key: str) -> State:
    with reading(str(path), "a checkpoint of pfir"), path.open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
        digest = arrays.pop(_DIGEST)
        if not np.array_equal(digest, _digest(arrays)):
            raise DataError(f"{path}: is a damaged checkpoint of pfir")
        facts = json.loads(arrays.pop(_FACTS).tobytes())
        if facts.get("key") != key:
            raise DataError(f"{path}: is a checkpoint of another training (other data, settings, model or engine)")
        return State(arrays, facts)


def _passed_over(problems: list[str], instead: str) -> str | None:
    return "; ".join([*problems, instead]) if problems else None


def _digest(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """SHA-256 as bytes: the archive's own checksums cover neither names nor what is missing."""
    return np.frombuffer(hashlib.sha256(content_hash(arrays).encode()).digest(), np.uint8)
