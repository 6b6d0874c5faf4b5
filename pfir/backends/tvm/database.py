"""Which way of computing a kernel was measured to be the fastest on which core: a file of this package, and the user's.

    {"format": 1, "cores": {CORE: {WORK: {"way": WAY, "gain": 1.08, "device": "..", "tvm": ".."}}}}

`CORE`, `WORK` and `WAY` are texts, as `core_name`, `Work` and the ways write them; `gain` is the time of the way that
the model of the core chooses as a multiple of the measured one's. A way that this version does not propose is passed
over.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pfir.backends.tvm.link import cache_folder
from pfir.backends.tvm.ways import Way, ways
from pfir.backends.tvm.work import Work
from pfir.errors import UsageError
from pfir.target import FLOAT32, Target

SHIPPED = Path(__file__).with_name("measured.json")
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """What was measured of one kernel.

    Args:
        way: The fastest, as text.
        gain: The modelled way's time as a multiple of it; 1 where the modelled way is the fastest.
        device: What it was measured on.
        tvm: The version that compiled it.
    """

    way: str
    gain: float = 1.0
    device: str = ""
    tvm: str = ""


@dataclass(frozen=True)
class Known:
    """The entries of one core, by the text of the work."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def way(self, target: Target, work: Work) -> Way | None:
        """The measured way of exactly this work; None where there is none."""
        entry = self.entries.get(str(work))
        return None if entry is None else next((way for way in ways(target, work) if str(way) == entry.way), None)

    def __str__(self) -> str:
        """All that a library may depend on."""
        return json.dumps({work: entry.way for work, entry in self.entries.items()}, sort_keys=True)


NOTHING = Known()


def known(target: Target, path: Path | None = None) -> Known:
    """What is known of the target's core: the user's entries (of `path`, else of `user_file()`) before those shipped.

    Raises:
        UsageError: A file is no such database, or `path` does not exist.
    """
    files = (SHIPPED, *((user_file(),) if path is None and user_file().exists() else ()), *((path,) if path else ()))
    entries = [read(file).get(core_name(target), {}) for file in files]
    return Known({work: entry for part in entries for work, entry in part.items()})


def user_file() -> Path:
    """Where `pfir tune` puts what it finds, unless it is told otherwise."""
    return cache_folder() / "kernels.json"


def core_name(target: Target) -> str:
    """What code for a target depends on beside the work: architecture, core, code generation, threads, arithmetic."""
    features = "".join(target.features)
    core = f"{target.triple.partition('-')[0]} {target.core.name} {target.cpu}{features} threads={target.threads}"
    return core if target.arithmetic == FLOAT32 else f"{core} {target.arithmetic}"


def read(path: Path) -> dict[str, dict[str, Entry]]:
    """The entries of a file, by core and work.

    Raises:
        UsageError: It cannot be read, or is no database of this format.
    """
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UsageError(f"{path} is no database of measured kernels: {error}; pfir tune writes one") from error


@lru_cache(maxsize=8)
def _parsed(path: Path, _changed: int) -> dict[str, dict[str, Entry]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']}, this version reads {FORMAT}")
    return {
        core: {work: Entry(**entry) for work, entry in entries.items()} for core, entries in content["cores"].items()
    }


def add(path: Path, target: Target, entries: Mapping[str, Entry], measured: Iterable[str] = ()) -> None:
    """Write the entries of a target's core into a file, whole or not at all; other entries of it stay.

    Args:
        measured: Work whose earlier entries no longer hold.

    Raises:
        UsageError: The file exists and is no database, or cannot be written.
    """
    cores: dict[str, dict[str, Any]] = read(path) if path.exists() else {}
    name, gone = core_name(target), set(measured)
    kept = {work: entry for work, entry in cores.get(name, {}).items() if work not in gone}
    merged = {**cores, name: {**kept, **entries}}
    plain = {core: {w: asdict(e) for w, e in sorted(found.items())} for core, found in sorted(merged.items())}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump({"format": FORMAT, "cores": plain}, file, indent=1)
            file.write("\n")
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
