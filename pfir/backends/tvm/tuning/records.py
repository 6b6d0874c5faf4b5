"""The database of measured kernels as `pfir tune` adds to it: the entries of one core in one file."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from pfir.backends.base import Tunable, TuningRecords
from pfir.backends.tvm.tuning import database
from pfir.backends.tvm.tuning.database import Entry, add, core_name, digest, read
from pfir.target import Target

COMPILER = "apache-tvm"


class CoreRecords(TuningRecords):
    """The entries of a target's core.

    Args:
        target: What kernels are built for.
        path: The file; None is the user's own.

    Raises:
        UsageError: The file exists and is no database.
    """

    def __init__(self, target: Target, path: Path | None = None) -> None:
        self.path, self.core = path or database.user_file(), core_name(target)
        self._target = target
        self._entries = read(self.path).get(self.core, {}) if self.path.exists() else {}

    def holds(self, kernel: Tunable) -> bool:
        entry = self._entries.get(kernel.name)
        return entry is not None and entry.among == digest(kernel.candidates) and entry.tvm == version(COMPILER)

    def begin(self) -> None:
        add(self.path, self._target, {})

    def add(self, kernel: Tunable, candidate: str, gain: float, device: str) -> None:
        entry = Entry(candidate, round(gain, 3), device, version(COMPILER), digest(kernel.candidates))
        add(self.path, self._target, {kernel.name: entry})
