"""Data sets handed to another process: as what they were made from, else as arrays on disk; never as pickles."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.data.classes import class_names
from pfir.data.generated import Range, generated
from pfir.data.opening import open_data
from pfir.data.origin import Generated, Opened, Origin
from pfir.data.preprocess import parse_preprocess
from pfir.errors import DataError

_DESCRIPTION, _LABELS = "data.json", "labels.npy"
_ROWS = 256


def hand_over(data: Dataset, folder: Path) -> None:
    """Write what `reopened` needs into a folder that exists.

    Raises:
        DataError: The samples have to be copied, and the disk is too small for them.
    """
    facts: dict[str, Any] = {"fingerprint": data.fingerprint(), "kind": data.kind}
    if data.origin is not None:
        facts["origin"] = _described(data.origin, folder)
    else:
        facts["inputs"] = _copied(data, folder)
        if data.labels is not None:
            np.save(folder / _LABELS, data.labels, allow_pickle=False)
    (folder / _DESCRIPTION).write_text(json.dumps(facts))


def reopened(folder: Path) -> Dataset:
    """The data set that was handed over.

    Raises:
        DataError: What it was made from has changed, or cannot be read here.
    """
    facts = json.loads((folder / _DESCRIPTION).read_text())
    if "origin" not in facts:
        return _Copied(folder, facts)
    data = _made(facts["origin"], folder)
    if data.fingerprint() != facts["fingerprint"]:
        raise DataError(f"{_name(facts['origin'])}: has other content here than where the training was started")
    return data


class _Copied(Dataset):
    """Arrays on disk, read as they are asked for."""

    def __init__(self, folder: Path, facts: dict) -> None:
        self.inputs, self.kind = tuple(facts["inputs"]), facts["kind"]
        files = {name: folder / file for name, file in facts["inputs"].items()}
        self._arrays = {name: np.load(file, mmap_mode="r", allow_pickle=False) for name, file in files.items()}
        labels = folder / _LABELS
        self.labels = np.load(labels, allow_pickle=False) if labels.exists() else None
        self._fingerprint = facts["fingerprint"]

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(array[indices]) for name, array in self._arrays.items()}

    def fingerprint(self) -> str:
        return str(self._fingerprint)


def _described(origin: Origin, folder: Path, depth: int = 0) -> dict:
    """The origin in what JSON can hold; indices go to files."""
    if isinstance(origin, Opened | Generated):
        return {"type": type(origin).__name__, **asdict(origin)}
    file = f"indices{depth}.npy"
    np.save(folder / file, origin.indices, allow_pickle=False)
    whole = _described(origin.whole, folder, depth + 1)
    return {"type": "Part", "whole": whole, "indices": file, "labelled": origin.labelled}


def _made(facts: dict, folder: Path) -> Dataset:
    if facts["type"] == "Part":
        whole = _made(facts["whole"], folder)
        part = whole.subset(np.load(folder / facts["indices"], allow_pickle=False))
        part.labels = part.labels if facts["labelled"] else None
        return part
    inputs = [TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in facts["inputs"]]
    if facts["type"] == "Generated":
        ranges = {name: Range(**given) for name, given in facts["ranges"].items()}
        return generated(inputs, facts["count"], facts["seed"], ranges, facts["whole"])
    preprocess = None if facts["preprocess"] is None else parse_preprocess(facts["preprocess"])
    names = None if facts["class_names"] is None else class_names(Path(facts["class_names"]))
    return open_data(facts["path"], inputs, preprocess, facts["classes"], names)


def _name(facts: dict) -> str:
    return _name(facts["whole"]) if facts["type"] == "Part" else facts.get("path", "generated inputs")


def _copied(data: Dataset, folder: Path) -> dict[str, str]:
    """The file of each input's samples, written a few at a time."""
    first = data.batch(np.arange(1))
    needed, free = len(data) * sum(x.nbytes for x in first.values()), shutil.disk_usage(folder).free
    if needed > free // 2:
        raise DataError(
            f"{folder}: training processes read a copy of the samples, {needed >> 20} MiB, and {free >> 20} MiB are "
            "free; choose another folder with -o, or give the data as files"
        )
    files = {name: f"input{i}.npy" for i, name in enumerate(first)}
    copies = {name: _room(folder / files[name], x, len(data)) for name, x in first.items()}
    for start in range(0, len(data), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(data)))
        for name, x in data.batch(rows).items():
            copies[name][start : start + len(x)] = x
    return files


def _room(path: Path, sample: np.ndarray, count: int) -> np.ndarray:
    return np.lib.format.open_memmap(path, "w+", sample.dtype, (count, *sample.shape[1:]))
