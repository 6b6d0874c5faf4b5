"""What a case came to: its end, time and memory, and whether that is a fault."""

from __future__ import annotations

import re
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path

import pfir

CODES = (0, 2, 3, 4, 5, 130)
"""What a command may end with, 130 where a function of the user raises KeyboardInterrupt; 1 is a fault."""
MOST_SECONDS = 20.0
MOST_BYTES = 2 << 30
_PACKAGE = f"{Path(pfir.__file__).parent}/"
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


@dataclass(frozen=True)
class Verdict:
    """One case's end.

    Args:
        kind, number: Which case.
        words, note: As the case has them.
        code: Exit code; minus the signal that ended the process.
        seconds: Of the clock.
        cpu_s: Of this case's processes.
        peak_bytes: Most memory of the process, the interpreter and its libraries included.
        text: The last line on stderr.
        fault: What is wrong, in words that are equal for equal faults; empty where nothing is.
    """

    kind: str
    number: int
    words: tuple[str, ...] = ()
    note: str = ""
    code: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    text: str = ""
    fault: str = ""


def unexpected(error: BaseException) -> str:
    """An exception that nobody expected: its type, and the innermost place in pfir."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(_PACKAGE) and not f.filename.startswith(f"{_PACKAGE}cli/")]
    made = [f for f in frames if "/benchmarks/fuzz/" in f.filename]
    place = ours[-1] if ours else (made or frames)[-1] if frames else None
    where = "" if place is None else f"{_short(place.filename)}:{place.name}"
    return f"{type(error).__name__} in {where}"


def fault_of_end(code: int, text: str, lines: int) -> str:
    """What is wrong with how a command ended."""
    if "a fault of pfir" in text or code == 1:
        return f"exit {code}: {_class_of(text)}"
    if code not in CODES:
        return f"exit code {code}"
    if code in (2, 3, 5) and lines != 1:
        return f"exit {code} with {lines} lines on stderr"
    if _ADDRESS.search(text):
        return f"an address in a message: {_class_of(text)}"
    return ""


def ended_by(end: str, code: int, stack: Path) -> str:
    """How a process ended, by which signal if it was one that it met, and where pfir was."""
    name = signal.Signals(-code).name if code < 0 and code != -signal.SIGKILL else end
    seen = stack.read_text(errors="replace") if stack.exists() else ""
    places = re.findall(rf'File "{re.escape(_PACKAGE)}([^"]+)", line \d+ in (\S+)', seen)
    return f"{name} in pfir/{places[0][0]}:{places[0][1]}" if places else name


def _class_of(text: str) -> str:
    """The text without what differs from case to case."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|/\S+|\b0x[0-9a-f]+|\d+", "*", text)
    return plain[:110]


def _short(path: str) -> str:
    inside = path.startswith(_PACKAGE)
    return f"pfir/{path.removeprefix(_PACKAGE)}" if inside else "/".join(path.split("/")[-2:])
