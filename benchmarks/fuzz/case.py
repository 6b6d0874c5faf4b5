"""One case of fuzzing: what is called in a folder of its own, and what must hold beside a proper end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """What is run.

    Args:
        words: The command line behind `pfir`; none where `law` is all.
        note: What was done to the input, for the reader of a fault.
        law: Called after the command with its exit code; gives the sentence that says what is wrong, or None.
    """

    words: tuple[str, ...]
    note: str
    law: Callable[[int], str | None] | None = None


@dataclass(frozen=True)
class Base:
    """What cases are made of.

    Args:
        folder: Holds a small model, its data and the results of a run; see `base`.
        models: Serialized models by the kind of cases that starts from them.
    """

    folder: Path
    models: dict[str, tuple[bytes, ...]]


Make = Callable[[np.random.Generator, Path, Base], Case]
"""Writes the files of a case into its folder."""


def pick(rng: np.random.Generator, items):
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in this share of calls."""
    return bool(rng.random() < share)
