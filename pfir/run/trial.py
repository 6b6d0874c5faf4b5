"""Whether ONNX Runtime takes a model, found out in a child process: what aborts there ends nothing but the child."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pfir.errors import FrontendError
from pfir.ir.model import Model
from pfir.run.session import first_line, loadable
from pfir.system.children import run_text

_SCRIPT = Path(__file__).with_name("trial_main.py")
# ONNX Runtime itself takes a third of a gigabyte of addresses; of a model it holds up to three copies while it opens.
_MEMORY_BYTES, _MEMORY_PER_BYTE = 1 << 30, 6
_SECONDS, _BYTES_PER_SECOND = 15, 10_000_000
LATE, LARGE = "it takes too long", "it takes too much memory"
"""Faults that are limits of ours: they tell nothing of the model but its size."""
_WAITS = 20
"""How many times its processor time a child may last, on a busy machine."""


@dataclass(frozen=True)
class Trial:
    """What happened in the child process.

    Args:
        opening: What ONNX Runtime says against the model, or how its process ended; None if it opened it.
        running: The same of one run, where that was asked for and the model opened.
        crashed: Whether the process ended by a fault of the processor or of memory, as ours would have.
    """

    opening: str | None
    running: str | None = None
    crashed: bool = False


def check_safe(model: Model) -> None:
    """Return only if ONNX Runtime opens the model, and a run does not end the process it is in.

    Raises:
        FrontendError: It is not so.
    """
    found = trial(loadable(model), run=True)
    if found.opening is not None:
        raise FrontendError(f"ONNX Runtime refuses the model: {found.opening}")
    if found.crashed:
        raise FrontendError(f"the model cannot be run in ONNX Runtime: {found.running}")


def refusal(data: bytes | Path) -> str | None:
    """Why ONNX Runtime does not open a model, None if it does; `data` as in `trial`."""
    return trial(data).opening


def trial(data: bytes | Path, run: bool = False) -> Trial:
    """Open a model in ONNX Runtime, and perhaps run it once on zeros.

    Args:
        data: The bytes of an ONNX file that holds its own weights, or the path of one that has them beside it.
        run: Whether to run it as well.
    """
    size = len(data) if isinstance(data, bytes) else data.stat().st_size + _beside(data)
    seconds = _SECONDS + size // _BYTES_PER_SECOND
    asked = {
        "memory": _MEMORY_BYTES + _MEMORY_PER_BYTE * size,
        "seconds": seconds,
        "run": run,
        "path": "" if isinstance(data, bytes) else str(data.absolute()),
    }
    command = run_text(_SCRIPT.read_text(encoding="utf-8"), json.dumps(asked))
    given = data if isinstance(data, bytes) else b""
    try:
        return _told(subprocess.run(command, input=given, capture_output=True, timeout=_WAITS * seconds, check=False))
    except subprocess.TimeoutExpired as late:
        return _at(late.stdout or b"", LATE, False)


def _beside(path: Path) -> int:
    """Bytes of the other files in a model's folder, where its values may lie."""
    return sum(p.stat().st_size for p in path.parent.iterdir() if p != path and p.is_file())


def _told(done: subprocess.CompletedProcess) -> Trial:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        late = name in ("SIGXCPU", "SIGKILL")
        return _at(done.stdout, LATE if late else f"it ends the process with {name}", not late)
    if done.returncode:
        last = done.stderr.decode(errors="replace").splitlines()[-1:]
        return _at(done.stdout, first_line("".join(last)) or f"its process ends with {done.returncode}", False)
    opening, running = (*_lines(done.stdout), None)[:2]
    return Trial(opening, running)


def _at(output: bytes, fault: str, crashed: bool) -> Trial:
    """A fault of opening, or of running if the model had opened."""
    return Trial(None, fault, crashed) if _lines(output) == [None] else Trial(fault, None, crashed)


def _lines(output: bytes) -> list[str | None]:
    """What the child said of opening and of running: its lines that are JSON, which ONNX Runtime's own are not."""
    lines = [line for line in output.decode(errors="replace").splitlines() if line == "null" or line[:1] == '"']
    return [None if (fault := json.loads(line)) is None else first_line(fault) for line in lines]
