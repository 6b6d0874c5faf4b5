"""Samples that cost more to make than to keep, kept in memory up to a bound."""

from __future__ import annotations

import numpy as np

from pfir.data.base import Dataset

MOST_BYTES = 256 << 20


class KeptDataset(Dataset):
    """Another data set, whose samples stay in memory once made, first come, up to `most_bytes`; copies start empty."""

    def __init__(self, source: Dataset, most_bytes: int = MOST_BYTES) -> None:
        self._source, self._room = source, most_bytes
        self._kept: dict[int, dict[str, np.ndarray]] = {}
        self._most_bytes = most_bytes
        self.inputs, self.labels, self.kind, self.notes = source.inputs, source.labels, source.kind, source.notes
        self.targets = source.targets

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        wanted = [int(i) for i in indices]
        fresh = np.array([i for i in dict.fromkeys(wanted) if i not in self._kept], np.int64)
        made = self._source.batch(fresh) if len(fresh) else {}
        if len(fresh) == len(wanted):
            self._keep(fresh, made)
            return made
        rows = {i: self._kept[i] for i in wanted if i in self._kept}
        rows |= {int(i): _row(made, place) for place, i in enumerate(fresh)}
        self._keep(fresh, made)
        return {name: np.stack([rows[i][name] for i in wanted]) for name in self.inputs}

    def anew(self, turn: int) -> Dataset:
        """Other samples are not kept: each turn is read once."""
        return self._source.anew(turn) if turn else self

    def fingerprint(self) -> str:
        return self._source.fingerprint()

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_kept": {}, "_room": self._most_bytes}

    def _keep(self, indices: np.ndarray, made: dict[str, np.ndarray]) -> None:
        for place, index in enumerate(indices):
            row = {name: x.copy() for name, x in _row(made, place).items()}
            self._room -= sum(x.nbytes for x in row.values())
            if self._room < 0:
                return
            self._kept[int(index)] = row


def _row(batch: dict[str, np.ndarray], place: int) -> dict[str, np.ndarray]:
    return {name: x[place] for name, x in batch.items()}
