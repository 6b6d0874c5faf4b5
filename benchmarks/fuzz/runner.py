"""Cases run one by one, each in a process forked from this one, which has everything imported; it survives what they do."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.fuzz.case import Base, Case, Make
from benchmarks.fuzz.verdict import MOST_BYTES, MOST_SECONDS, Verdict, ended_by, fault_of_end, unexpected

ADDRESS_SPACE = 5 << 30
"""A case may map so much more than it starts with: a bomb ends itself before it harms the machine."""
PATIENCE_S = 60.0
"""Of the clock, after which a process is ended: on a busy machine 20 s of work take longer."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): what a case leaves behind becomes our child


def seeded(seed: int, kind: str, number: int) -> np.random.Generator:
    """The random choices of one case, whatever ran before it."""
    return np.random.default_rng([seed, int.from_bytes(kind.encode(), "little") % 2**32, number])


class Runner:
    """Runs cases of a kind.

    Args:
        base: What they are made of.
        scratch: A folder, emptied after each case.
        seed: Of all choices.
        keep: Where the folders of faulty cases are copied to; None for nowhere.
    """

    def __init__(self, base: Base, scratch: Path, seed: int, keep: Path | None) -> None:
        self._base, self._scratch, self._seed, self._keep = base, scratch, seed, keep
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)

    def run(self, kind: str, make: Make, numbers: range) -> Iterator[Verdict]:
        """The verdicts in order."""
        for number in numbers:
            found = self._one(kind, make, number)
            yield replace(found, fault=found.fault or _fault_of_use(found))

    def _one(self, kind: str, make: Make, number: int) -> Verdict:
        folder = self._scratch / f"{kind}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("work", "tmp", "home", "cache"):
            (folder / name).mkdir(parents=True)
        start, (reading, writing) = time.monotonic(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _in_child(kind, make, seeded(self._seed, kind, number), number, folder, self._base, writing)
        os.close(writing)
        told = _all_of(reading, start + PATIENCE_S)
        found = _ended(child, told, kind, number, folder, time.monotonic() - start)
        if found.fault and self._keep is not None:
            _keep(self._keep / folder.name, folder, found)
        _remove(folder)
        return found


def _ended(child: int, told: bytes | None, kind: str, number: int, folder: Path, seconds: float) -> Verdict:
    if told is None:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    found = Verdict(kind, number, code=code)
    lines = [json.loads(line) for line in (told or b"").splitlines() if line.endswith(b"}")]
    for line in lines:
        found = replace(found, **line)
    if told is None:
        found = replace(found, code=-signal.SIGKILL, fault=ended_by(-signal.SIGALRM, folder / "stack"))
    elif code < 0:
        found = replace(found, code=code, fault=ended_by(code, folder / "stack"))
    elif len(lines) < 2:
        found = replace(found, fault=f"the process ended itself with {code}")
    left = _left_behind(child)
    if left and not found.fault:
        found = replace(found, fault="left processes behind")
    return replace(
        found,
        words=tuple(found.words),
        seconds=seconds,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=max(used.ru_maxrss << 10, found.peak_bytes),
    )


def _fault_of_use(found: Verdict) -> str:
    if found.peak_bytes > MOST_BYTES:
        return f"more than {MOST_BYTES >> 30} GB"
    return f"longer than {MOST_SECONDS:g} s" if max(found.cpu_s, found.seconds) > MOST_SECONDS else ""


def _all_of(reading: int, until: float) -> bytes | None:
    """What the child tells before it closes its end; None where it does not in time."""
    told = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            part = pipe.read(1 << 16)
            if not part:
                return told
            told += part


def _left_behind(child: int) -> bool:
    """Whether processes of the case still run; they are ended."""
    found = False
    try:
        os.killpg(child, signal.SIGKILL)
        found = True
    except (ProcessLookupError, PermissionError):
        pass
    try:
        while os.waitpid(-1, 0 if found else os.WNOHANG)[0]:
            found = True
    except ChildProcessError:
        pass
    return found


def _keep(place: Path, folder: Path, found: Verdict) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "work", place, symlinks=True, ignore=_no_pipes)
    (place / "verdict.json").write_text(json.dumps(asdict(found), indent=1))
    for name in ("stderr", "stack"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, place / f"{name}.txt")


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if not (Path(folder, n).is_file() or Path(folder, n).is_dir() or Path(folder, n).is_symlink())]


def _remove(folder: Path) -> None:
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _in_child(kind: str, make: Make, rng, number: int, folder: Path, base: Base, telling: int) -> None:
    """Never returns."""
    os.setpgid(0, 0)
    try:
        _settle(folder)
        case = make(rng, folder / "work", base)
        _tell(telling, {"words": case.words, "note": case.note})
        _tell(telling, {**_outcome(case, folder), "peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10})
    except BaseException as error:  # noqa: BLE001  (the fuzzer's own)
        _tell(telling, {"fault": f"fuzzing: {unexpected(error)}", "text": str(error)[:500]})
        _tell(telling, {})
    finally:
        sys.stdout.flush()
        os.close(telling)
        os._exit(0)


def _settle(folder: Path) -> None:
    """Make the folder all that this process knows of the machine, and bound what it may take."""
    os.environ |= {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "cache")}
    os.environ |= {"PYTHONHASHSEED": "0", "COLUMNS": "100"}
    tempfile.tempdir = None
    os.chdir(folder / "work")
    for number, name in ((1, "stdout"), (2, "stderr")):
        place = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(place, number)
        os.close(place)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    stack = (folder / "stack").open("w")
    faulthandler.enable(stack)
    faulthandler.dump_traceback_later(PATIENCE_S - 1, file=stack)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.register(signal.SIGXCPU, stack, chain=True)
    resource.setrlimit(resource.RLIMIT_CPU, (int(MOST_SECONDS) + 1, int(MOST_SECONDS) + 5))


def _outcome(case: Case, folder: Path) -> dict[str, object]:
    code, fault = _command(case) if case.words else (0, "")
    lines = (folder / "stderr").read_text(errors="replace").splitlines()
    text = lines[-1][:500] if lines else ""
    fault = fault or (fault_of_end(code, text, len([x for x in lines if x.startswith("pfir: ")])) if case.words else "")
    if not fault and any(line.startswith("Traceback") for line in lines):
        fault = "a traceback on stderr"
    if not fault and case.law is not None:
        fault = case.law(code) or ""
    if not fault and (left := sorted(p.name for p in (folder / "tmp").iterdir())):
        fault = f"left in TMPDIR: {left[0][:5]}*"
    return {"code": code, "text": text, "fault": fault}


def _command(case: Case) -> tuple[int, str]:
    """Its exit code, and what nobody expected."""
    from pfir.cli import main

    sys.argv = ["pfir", *case.words]
    try:
        main()
    except SystemExit as end:
        code = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        cause = end.__context__
        expected = code != 1 or cause is None
        fault = "" if expected else unexpected(cause)
    except BaseException as error:  # noqa: BLE001  (that is what is looked for)
        code, fault = 1, unexpected(error)
    _at_exit()
    return code, fault


def _at_exit() -> None:
    """What an interpreter does at its end, which `os._exit` leaves out."""
    import atexit
    import gc

    gc.collect()
    atexit._run_exitfuncs()


def _tell(telling: int, what: dict[str, object]) -> None:
    os.write(telling, json.dumps(what).encode() + b"\n")
