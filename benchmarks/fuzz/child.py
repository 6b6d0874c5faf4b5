"""A process that runs cases in turn, each in a folder of its own, and tells what each came to."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np

from benchmarks.fuzz.case import Base, Case
from benchmarks.fuzz.forked import start_trials, stay_in_the_process
from benchmarks.fuzz.verdict import MOST_SECONDS, fault_of_end, unexpected

ADDRESS_SPACE = 5 << 30
"""A process may map so much more than it starts with: a bomb ends itself before it harms the machine."""
SHOWN_AFTER_S = 40.0
"""A case that takes so long writes down where it is."""

_AT_EXIT: list[Callable[[], object]] = []
"""What a case wants done at the end of its process, which for us is its own end."""


def run_cases(
    cases: list[tuple[str, int]], base: Base, scratch: Path, seed: int, telling: int, keep: bool, every_tenth: bool
) -> NoReturn:
    """Run the cases, telling a line of JSON for each on the pipe, and end the process.

    Args:
        keep: Whether their folders stay; trials of models are then children as users have them.
        every_tenth: Whether these are among the cases whose trials are forked; those of others stay in the process.
    """
    from benchmarks.fuzz.kinds import KINDS

    os.setpgid(0, 0)
    _bound()
    atexit.register = lambda function, *given, **named: _AT_EXIT.append(partial(function, *given, **named))
    if keep:
        start_trials()
    elif not every_tenth:
        stay_in_the_process()
    for kind, number in cases:
        folder = scratch / f"{kind}-{number}"
        try:
            found = _one(KINDS[kind].make, seeded(seed, kind, number), folder, base, keep)
        except BaseException as error:  # noqa: BLE001  (the fuzzer's own)
            found = {"words": (), "fault": f"fuzzing: {unexpected(error)}", "text": str(error)[:500]}
        os.chdir("/")
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        os.write(telling, json.dumps(found).encode() + b"\n")
    os._exit(0)


def seeded(seed: int, kind: str, number: int) -> np.random.Generator:
    """The random choices of one case, whatever ran before it."""
    return np.random.default_rng([seed, int.from_bytes(kind.encode(), "little") % 2**32, number])


def _bound() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _one(make, rng: np.random.Generator, folder: Path, base: Base, keep: bool) -> dict[str, object]:
    start, stack = time.monotonic(), _settle(folder, keep)
    cpu_s, children = _cpu_s(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    case: Case = make(rng, folder / "work", base)
    outcome = _outcome(case, folder)
    if keep:
        faulthandler.cancel_dump_traceback_later()
    stack.close()
    grown = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak = max(outcome.pop("peak_kb"), grown if grown > children else 0)
    use = {"seconds": time.monotonic() - start, "cpu_s": _cpu_s() - cpu_s, "peak_bytes": peak << 10}
    return {"words": case.words, "note": case.note, **outcome, **use}


def _settle(folder: Path, keep: bool):
    """Make the folder all that this process knows of the machine; the file that tells where it ended is returned."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("work", "tmp", "home", "cache"):
        (folder / name).mkdir(parents=True)
    os.environ |= {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "cache")}
    os.environ |= {"PYTHONHASHSEED": "0", "COLUMNS": "100"}
    tempfile.tempdir = None
    os.chdir(folder / "work")
    for number, place, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, folder / "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(place, flags)
        os.dup2(opened, number)
        os.close(opened)
    stack = (folder / "stack").open("w")
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGXCPU, stack, chain=True)
    if keep:  # the thread that waits for it takes a millisecond or two
        faulthandler.dump_traceback_later(SHOWN_AFTER_S, file=stack)
    used = int(time.process_time())
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (used + int(MOST_SECONDS) + 2, hard))
    return stack


def _outcome(case: Case, folder: Path) -> dict[str, object]:
    code, fault = _command(case, folder) if case.words else (0, "")
    peak_kb = _peak_kb() if case.words else 0  # what the law needs to look at an output is its own
    lines = (folder / "stderr").read_text(errors="replace").splitlines()
    text = lines[-1][:500] if lines else ""
    if case.words and not fault:
        fault = fault_of_end(code, text, sum(line.startswith("pfir: ") for line in lines))
    if not fault and any(line.startswith("Traceback") for line in lines):
        fault = "a traceback on stderr"
    if not fault and case.law is not None:
        fault = _broken(case, code)
    if not fault and (left := sorted(p.name for p in (folder / "tmp").iterdir())):
        fault = f"left in TMPDIR: {left[0][:5]}*"
    return {"code": code, "text": text, "fault": fault, "peak_kb": peak_kb or _peak_kb()}


def _broken(case: Case, code: int) -> str:
    """What the case's law finds wrong; that it ends in an exception is a fault, too."""
    try:
        return case.law(code) or ""
    except BaseException as error:  # noqa: BLE001  (that is what is looked for)
        return unexpected(error)


def _command(case: Case, folder: Path) -> tuple[int, str]:
    """Its exit code, and what nobody expected."""
    from pfir.cli import main

    sys.argv = ["pfir", *case.words]
    try:
        main()
    except SystemExit as end:
        code = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        cause = end.__context__
        fault = "" if code != 1 or cause is None else unexpected(cause)
    except BaseException as error:  # noqa: BLE001  (that is what is looked for)
        code, fault = 1, unexpected(error)
    sys.stdout.flush()
    sys.stderr.flush()
    _forget_modules(folder)
    while _AT_EXIT:
        _AT_EXIT.pop()()
    if any(Path("../tmp").iterdir()):
        gc.collect()
    return code, fault


def _forget_modules(folder: Path) -> None:
    """What was imported from the folder is unknown to the next case."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
