"""Which schedule of a kernel was measured to be the fastest on which core: a file of this package, and the user's.

    {"format": 1, "cores": {CORE: {WORK: {"way": WAY, "gain": 1.08, "device": "..", "tvm": "..", "among": ".."}}}}

`CORE`, `WORK` and `WAY` are texts, as `core_name`, workloads and schedules write them; `gain` is the time of the
schedule that the model of the core chooses as a multiple of the measured one's, 1 where that one was not beaten: such
an entry only tells that there is nothing to measure. A schedule that this version does not propose is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pfir.backends.base import UNTUNED
from pfir.backends.tvm.families import candidates
from pfir.backends.tvm.schedule.candidate_schedules import Schedule
from pfir.devices.emulation.cached import default_cache
from pfir.errors import UsageError
from pfir.target import FLOAT32, Target
from pfir.workload import Workload

SHIPPED = Path(__file__).with_name("measured.json")
SHIPPED_NAME = "shipped"
FORMAT = 1
_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Entry:
    """What was measured of one kernel.

    Args:
        schedule: The fastest, as text.
        gain: The modelled schedule's time as a multiple of it; 1 where that one is the fastest.
        device: What it was measured on.
        tvm: The version that compiled it.
        among: `digest` of the schedules that it was chosen among.
    """

    schedule: str
    gain: float = 1.0
    device: str = ""
    tvm: str = ""
    among: str = ""


@dataclass(frozen=True)
class Known:
    """The entries of one core, by the text of the work.

    Args:
        entries: Those that tell which schedule to take.
        sources: The database that each is from: its name, and the SHA-256 of its content.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def schedule(self, target: Target, workload: Workload) -> Schedule | None:
        """The measured schedule of exactly this workload; None where there is none."""
        entry = self.entries.get(str(workload))
        return (
            None
            if entry is None
            else next((schedule for schedule in candidates(target, workload) if str(schedule) == entry.schedule), None)
        )

    def __str__(self) -> str:
        """All that a library may depend on."""
        return json.dumps({workload: entry.schedule for workload, entry in self.entries.items()}, sort_keys=True)


NOTHING = Known()


def known(target: Target, tuned: str | Path | None = None) -> Known:
    """What the `databases` of this name know of the target's core, the later ones first.

    Raises:
        UsageError: A file is no such database, or does not exist.
    """
    entries, sources = {}, {}
    for name, path in databases(tuned):
        content = sha256(path)
        for workload, entry in read(path).get(core_name(target), {}).items():
            entries[workload], sources[workload] = entry, (name, content)
    taken = {workload: entry for workload, entry in entries.items() if entry.gain > 1}
    return Known(taken, {workload: sources[workload] for workload in taken})


def databases(tuned: str | Path | None = None) -> tuple[tuple[str, Path], ...]:
    """Names and files: what ships, then the user's own where there is one, or the file `tuned` in its place; with the
    text `none` there are no databases."""
    if tuned == UNTUNED:
        return ()
    # os.path: a cache that cannot be looked into is one without a database.
    own = (user_file(),) if tuned is None and os.path.exists(user_file()) else ()
    return ((SHIPPED_NAME, SHIPPED), *((path.name, path) for path in (*own, *([Path(tuned)] if tuned else []))))


def digest(texts: Sequence[str]) -> str:
    """Equal for equal texts in any order, short enough to be read."""
    return hashlib.sha256("\0".join(sorted(texts)).encode()).hexdigest()[:12]


def user_file() -> Path:
    """Where `pfir tune` puts what it finds, unless it is told otherwise."""
    return default_cache() / "kernels.json"


def core_name(target: Target) -> str:
    """What code for a target depends on beside the work: architecture, core, code generation, threads, arithmetic."""
    features = "".join(target.features)
    core = f"{target.triple.partition('-')[0]} {target.core.name} {target.cpu}{features} threads={target.threads}"
    return core if target.arithmetic == FLOAT32 else f"{core} {target.arithmetic.name}"


def sha256(path: Path) -> str:
    """The SHA-256 of the file's content.

    Raises:
        UsageError: It cannot be read.
    """
    return hashlib.sha256(_content(path)).hexdigest()


def read(path: Path) -> dict[str, dict[str, Entry]]:
    """The entries of a file, by core and work.

    Raises:
        UsageError: It cannot be read, or is no database of this format.
    """
    return _parsed(path, _content(path))


def _content(path: Path) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISFIFO(found.st_mode) or found.st_size > _MOST_BYTES:
            raise _no_database(path, "it is a pipe" if stat.S_ISFIFO(found.st_mode) else "it is too large")
        return path.read_bytes()
    except OSError as error:
        raise _no_database(path, error.strerror) from error
    except ValueError as error:  # no path can have this name
        raise _no_database(path, str(error)) from error


@lru_cache(maxsize=8)
def _parsed(path: Path, content: bytes) -> dict[str, dict[str, Entry]]:
    try:
        found = json.loads(content)
    except ValueError as error:  # neither JSON nor text
        raise _no_database(path, str(error)) from error
    except RecursionError as error:
        raise _no_database(path, "it is nested too deeply") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        given = found.get("format") if isinstance(found, dict) else None
        raise _no_database(path, f"its format is {str(given)[:40]}, this version reads {FORMAT}")
    return {core: _entries(path, works) for core, works in _named(path, found.get("cores"))}


def _entries(path: Path, works: Any) -> dict[str, Entry]:
    return {workload: _entry(path, workload, dict(_named(path, entry))) for workload, entry in _named(path, works)}


def _entry(path: Path, workload: str, values: dict[str, Any]) -> Entry:
    texts = {name: values.get(name, "") for name in ("way", "device", "tvm", "among")}
    gain = values.get("gain", 1.0)
    right = all(isinstance(text, str) for text in texts.values()) and isinstance(gain, int | float)
    if not right or not texts["way"] or values.keys() - {*texts, "gain"}:
        raise _no_database(path, f"its entry of {workload[:80]!r} is none")
    return Entry(schedule=texts.pop("way"), gain=gain, **texts)


def _written(entry: Entry) -> dict[str, Any]:
    """An entry as the file has it, where a schedule is called a way."""
    values = asdict(entry)
    return {"way": values.pop("schedule"), **values}


def _named(path: Path, value: Any) -> ItemsView[str, Any]:
    if not isinstance(value, dict):
        raise _no_database(path, f"it holds {str(value)[:40]!r} where names are expected")
    return value.items()


def _no_database(path: Path, why: str) -> UsageError:
    what = "remove it, or build without it (--tuned none)"
    return UsageError(f"{path} is no database of measured kernels: {why}; pfir tune writes one; {what}")


def add(path: Path, target: Target, entries: Mapping[str, Entry]) -> None:
    """Write the entries of a target's core into a file, whole or not at all; other entries of it stay.

    Raises:
        UsageError: The file exists and is no database, or cannot be written.
    """
    cores: dict[str, dict[str, Any]] = read(path) if path.exists() else {}
    name = core_name(target)
    merged = {**cores, name: {**cores.get(name, {}), **entries}}
    plain = {core: {w: _written(e) for w, e in sorted(found.items())} for core, found in sorted(merged.items())}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, json.dumps({"format": FORMAT, "cores": plain}, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
