"""What a user asks of `pfir compile`, checked before any work."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pfir.compile.places import AUTO, Where
from pfir.errors import UsageError

DEFAULT_TIME_BUDGET_S = 600.0
BACKENDS = ("tvm", "ort")
METRICS = ("auto", "accuracy", "fidelity")
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(us|ms|s|min|m|h)\s*")


@dataclass(frozen=True)
class Goals:
    """What the result must reach; one or two of them.

    Args:
        speedup: How many times faster than the original, > 1.
        latency_s: Seconds of one inference at most, > 0.
        size: How many times smaller the weights, > 1.
        macs: Share of the original's multiply-accumulates at most, in (0, 1).
        max_drop: Percentage points of accuracy that may be lost, >= 0; alone it asks for the fastest such model.

    Raises:
        UsageError: No goal, more than two, or one out of range.
    """

    speedup: float | None = None
    latency_s: float | None = None
    size: float | None = None
    macs: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("speedup", "latency_s", "size", "macs", "max_drop") if getattr(self, n) is not None]
        if not 1 <= len(given) <= 2:
            raise UsageError(
                f"{len(given) or 'no'} goals given; name one or two of "
                "--speedup 2.5, --latency 8ms, --size 4x, --macs 0.5, --max-drop 0.5"
            )
        _above("--speedup", self.speedup, 1.0)
        _above("--latency", self.latency_s, 0.0)
        _above("--size", self.size, 1.0)
        _above("--macs", self.macs, 0.0)
        if self.macs is not None and self.macs >= 1:
            raise UsageError(f"--macs is {self.macs}; it is a share of the original's and must be in (0, 1)")
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop is {self.max_drop}; it is in percentage points and must be in [0, 100]")

    def text(self) -> str:
        """The goals as a user wrote them."""
        words = {
            "speedup": "--speedup {:g}",
            "latency_s": "--latency {:g}s",
            "size": "--size {:g}x",
            "macs": "--macs {:g}",
            "max_drop": "--max-drop {:g}",
        }
        return " ".join(w.format(getattr(self, n)) for n, w in words.items() if getattr(self, n) is not None)


@dataclass(frozen=True)
class Request:
    """One call of `pfir compile`; the fields are its options."""

    model: Path
    target: str
    goals: Goals
    output: Path
    data: str | None = None
    validation: str | None = None
    preprocess: str | None = None
    metric: str = "auto"
    passes: str | None = None
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: str | None = None
    backend: str = "tvm"
    tuned: str | None = None
    batch: int | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    trials: int | None = None
    epochs: int | None = None
    time_budget_s: float | None = None
    recipe: Path | None = None
    retrain: bool = False
    resume: bool = False
    dry_run: bool = False
    seed: int = 0
    jobs: int | None = None
    depfile: Path | None = None
    force: bool = False
    fp16: bool = False
    verify: str = AUTO
    offline: bool = False

    def __post_init__(self) -> None:
        Where(self.verify, self.offline)
        if self.backend not in BACKENDS:
            raise UsageError(f"--backend {self.backend} is not known; it is one of {', '.join(BACKENDS)}")
        if self.metric not in METRICS:
            raise UsageError(f"--metric {self.metric} is not known; it is one of {', '.join(METRICS)}")
        if self.goals.max_drop is not None and self.data is None:
            raise UsageError("--max-drop needs labels to measure a drop with; give --data")
        if self.metric == "accuracy" and self.data is None:
            raise UsageError("--metric accuracy needs labels; give --data")
        if self.validation is not None and self.data is None:
            raise UsageError("--validation goes with --data")
        if self.tuned is not None and self.backend != "tvm":
            raise UsageError(f"--tuned names kernels of the tvm backend; --backend {self.backend} has none")
        for name in ("batch", "trials", "jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} is {value}; it must be at least 1")
        if self.epochs is not None and self.epochs < 0:
            raise UsageError(f"--epochs is {self.epochs}; it must be at least 0 (0 means no training)")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}; it must be at least 0")
        if self.time_budget_s is not None and self.time_budget_s <= 0:
            raise UsageError("--time-budget must be above 0")
        if self.force and self.resume:
            raise UsageError("--force starts anew and --resume goes on; give one of them")
        if self.retrain and self.recipe is None:
            raise UsageError("--retrain goes with --recipe")

    @property
    def where(self) -> Where:
        """Where the library is to be verified."""
        return Where(self.verify, self.offline)


def parse_duration(text: str) -> float:
    """Seconds of `8ms`, `30m`, `1.5h`.

    Raises:
        UsageError: Not a number with one of the units us, ms, s, m, h.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a duration; write a number with a unit, such as 8ms, 90s, 30m or 2h")
    return float(match[1]) * _UNITS_S[match[2]]


def parse_factor(text: str) -> float:
    """The number of `2.5` or `2.5x`.

    Raises:
        UsageError: Not such a number.
    """
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        raise UsageError(f"{text!r} is not a factor; write a number such as 2.5 or 2.5x") from None
    if not math.isfinite(value):
        raise UsageError(f"{text!r} is not a finite factor")
    return value


def parse_input_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Name to shape of texts such as `image=1x3x224x224`.

    Raises:
        UsageError: Not of that form, or a size below 1.
    """
    shapes = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.split("x")
        if not name or not all(p.isdigit() and int(p) > 0 for p in parts):
            raise UsageError(f"--input-shape {text!r} is not of the form name=1x3x224x224")
        shapes[name] = tuple(int(p) for p in parts)
    return shapes


def _above(option: str, value: float | None, bound: float) -> None:
    if value is not None and not (math.isfinite(value) and value > bound):
        raise UsageError(f"{option} is {value:g}; it must be above {bound:g}")
