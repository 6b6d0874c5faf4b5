"""pfir's trials of models, forked rather than started, or in the process itself: a fork takes longer than most cases.

What ends a process in this way is met again when the case runs alone, with children as users have them.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

_PAGE = os.sysconf("SC_PAGE_SIZE")


def fork_trials() -> None:
    """From now on `pfir.run.trial` forks; starting Python and importing ONNX Runtime takes longer than most cases."""
    from pfir.run import trial

    given = {name: getattr(subprocess, name) for name in ("CompletedProcess", "TimeoutExpired", "PIPE", "DEVNULL")}
    trial.subprocess = SimpleNamespace(run=_run, **given)


def stay_in_the_process() -> None:
    """From now on nothing is tried in a child: ONNX Runtime opens models here, onnx checks them here."""
    from pfir.frontends.onnx import loading
    from pfir.run import trial

    trial.subprocess = SimpleNamespace(run=_run_here, TimeoutExpired=subprocess.TimeoutExpired)
    loading.ended_by = lambda work: None


def start_trials() -> None:
    """From now on `pfir.run.trial` starts its children as it does for users."""
    from pfir.frontends.onnx import loading, survival
    from pfir.run import trial

    trial.subprocess, loading.ended_by = subprocess, survival.ended_by


def _run_here(command: list[str], input: bytes, **_) -> subprocess.CompletedProcess:
    from pfir.run import trial_main

    asked, said = json.loads(command[-1]), io.StringIO()
    with redirect_stdout(said):
        session = trial_main.told(lambda: trial_main.opened(asked["path"] or input))
        if session is not None and asked["run"]:
            trial_main.told(lambda: trial_main.run_once(session))
    return subprocess.CompletedProcess(command, 0, said.getvalue().encode(), b"")


def _run(command: list[str], input: bytes, timeout: float, **_) -> subprocess.CompletedProcess:
    """As `subprocess.run` of a script of pfir's with one argument in JSON, its output captured."""
    asked = json.loads(command[-1])
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    (out, told), (err, warned) = os.pipe(), os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.dup2(told, 1)
        os.dup2(warned, 2)
        _as_script({**asked, "memory": asked["memory"] + mapped}, input)
    os.close(told)
    os.close(warned)
    output, errors = _read((out, err), time.monotonic() + timeout, child)
    _, status = os.waitpid(child, 0)
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), output, errors)


def _as_script(asked: dict, given: bytes) -> None:
    from pfir.run import trial_main

    code = 1
    try:
        sys.stdin = SimpleNamespace(buffer=io.BytesIO(given))
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        trial_main.main(json.dumps(asked | {"folders": sys.path}))
        code = 0
    except BaseException as error:  # noqa: BLE001  (an interpreter prints it and ends with 1)
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _read(pipes: tuple[int, int], until: float, child: int) -> tuple[bytes, bytes]:
    texts = dict.fromkeys(pipes, b"")
    waiting = set(pipes)
    while waiting:
        ready, _, _ = select.select(waiting, [], [], max(0.0, until - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
        for pipe in ready:
            part = os.read(pipe, 1 << 16)
            texts[pipe] += part
            if not part:
                waiting.discard(pipe)
                os.close(pipe)
    return texts[pipes[0]], texts[pipes[1]]
