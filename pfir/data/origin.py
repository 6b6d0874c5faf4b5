"""What a data set was opened or made from, so that another process can do the same again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pfir.artifact import TensorSpec


@dataclass(frozen=True)
class Opened:
    """A file or folder of the user's, as `open_data` was given it; never a function, whose code may give others.

    Args:
        path: Absolute.
        preprocess: As `--preprocess` writes it.
        class_names: The file of names, absolute.
    """

    path: str
    inputs: tuple[TensorSpec, ...]
    preprocess: str | None
    classes: int | None
    class_names: str | None


@dataclass(frozen=True)
class Generated:
    """Made up, as `generated` was told.

    Args:
        ranges: The fields of `Range` by input name.
        whole: Inputs that hold no samples.
    """

    inputs: tuple[TensorSpec, ...]
    count: int
    seed: int
    ranges: Mapping[str, Mapping[str, object]]
    whole: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Some samples of another data set.

    Args:
        indices: int64 [N].
        labelled: Whether labels come with them, where there are any.
    """

    whole: Origin
    indices: np.ndarray
    labelled: bool


Origin = Opened | Generated | Part
