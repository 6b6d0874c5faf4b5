"""What a set of samples is to the rest of pfir: it has a length and gives batches by index."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from pfir.data.origin import Origin, Part


class Dataset(ABC):
    """Samples with or without labels, read in slices.

    Attributes:
        inputs: The model inputs that it feeds.
        labels: int64 class indices [N], or None.
        targets: float32 values [N, ...] of the model's only output, where the data gives these in place of classes.
        kind: `given` (the user's) or `generated`.
        notes: What a user should know about how it was read, such as which folder became which class.
        origin: From what another process makes the same samples; None where only the samples themselves tell.
    """

    inputs: tuple[str, ...]
    labels: np.ndarray | None
    targets: np.ndarray | None = None
    kind: str
    notes: tuple[str, ...] = ()
    origin: Origin | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The samples of these indices, preprocessed: input name to [len(indices), ...] in the model's layout."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of content and preprocessing, the same on every machine."""

    def anew(self, turn: int) -> Dataset:
        """As many other samples of the same kind for every turn, these for turn 0; itself where there are no others."""
        return self

    def subset(self, indices: np.ndarray) -> Dataset:
        """The samples of these indices as a data set."""
        return _Subset(self, np.asarray(indices))

    def without_labels(self) -> Dataset:
        """The same samples, their labels left out."""
        bare = _Subset(self, np.arange(len(self)))
        bare.labels = None
        bare.origin = None if self.origin is None else Part(self.origin, np.arange(len(self)), labelled=False)
        return bare


class _Subset(Dataset):
    def __init__(self, whole: Dataset, indices: np.ndarray) -> None:
        self._whole, self._indices = whole, indices
        self.inputs, self.kind, self.notes = whole.inputs, whole.kind, whole.notes
        self.labels = None if whole.labels is None else whole.labels[indices]
        self.targets = None if whole.targets is None else whole.targets[indices]
        self.origin = None if whole.origin is None else Part(whole.origin, indices, labelled=True)

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._whole.batch(self._indices[indices])

    def anew(self, turn: int) -> Dataset:
        return _Subset(self._whole.anew(turn), self._indices)

    def fingerprint(self) -> str:
        import hashlib

        return hashlib.sha256(self._whole.fingerprint().encode() + self._indices.tobytes()).hexdigest()
