"""What a user asks of `pfir compile`, checked before any work."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pfir.backends import DEFAULT, check_backend
from pfir.compile.measuring.verification_places import AUTO, Where
from pfir.compile.training.options import COMPILE, TrainOptions
from pfir.errors import UsageError
from pfir.target import FLOAT16, FLOAT32, INT8
from pfir.train.distributed.processes import ONE, Processes
from pfir.train.engines.choice import AUTO_ENGINE, check_compile, check_engine

DEFAULT_TIME_BUDGET_S = 600.0
_ALL_GOALS = "--speedup 2.5, --latency 8ms, --size 4x, --macs 0.5, --max-drop 0.5"
METRICS = ("auto", "accuracy", "fidelity")
AUTO_PRECISION = "auto"
PRECISIONS = (AUTO_PRECISION, FLOAT32.name, FLOAT16.name, INT8)
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PLAIN = re.compile(r"[0-9]*\.?[0-9]+")
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(us|ms|s|min|m|h)\s*")


@dataclass(frozen=True)
class Goals:
    """What the result must reach: one or two of them, or none where a recipe says what is done.

    Args:
        speedup: How many times faster than the original, > 1.
        latency_s: Seconds of one inference at most, > 0.
        size: How many times smaller the packed file is than the original, > 1.
        macs: Share of the original's multiply-accumulates at most, in (0, 1).
        max_drop: Percentage points of accuracy that may be lost, >= 0; alone it asks for the fastest such model.

    Raises:
        UsageError: More than two, or one out of range.
    """

    speedup: float | None = None
    latency_s: float | None = None
    size: float | None = None
    macs: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.count > 2:
            raise UsageError(f"{self.count} goals given; name one or two of {_ALL_GOALS}")
        _above("--speedup", self.speedup, 1.0)
        _above("--latency", self.latency_s, 0.0)
        _above("--size", self.size, 1.0)
        _above("--macs", self.macs, 0.0)
        if self.macs is not None and self.macs >= 1:
            raise UsageError(
                f"--macs is {self.macs:g}; it is the share of the original's that may stay, in (0, 1), "
                "such as 0.5 or 50%"
            )
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise UsageError(f"--max-drop is {self.max_drop}; it is in percentage points and must be in [0, 100]")

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(v is not None for v in (self.speedup, self.latency_s, self.size, self.macs, self.max_drop))

    def text(self) -> str:
        """The goals as a user wrote them; `no goal` where there is none."""
        words = {
            "speedup": "--speedup {:g}",
            "latency_s": "--latency {:g}s",
            "size": "--size {:g}x",
            "macs": "--macs {:g}",
            "max_drop": "--max-drop {:g}",
        }
        given = (w.format(getattr(self, n)) for n, w in words.items() if getattr(self, n) is not None)
        return " ".join(given) or "no goal"


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
    classes: Path | None = None
    allow_low_accuracy: bool = False
    metric: str = "auto"
    passes: str | None = None
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    device: str | None = None
    backend: str = DEFAULT
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
    precision: str = AUTO_PRECISION
    verify: str = AUTO
    offline: bool = False
    engine: str = AUTO_ENGINE
    processes: Processes = ONE
    train: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        Where(self.verify, self.offline)
        check_backend(self.backend, self.tuned)
        trains = self.epochs != 0 and (self.recipe is None or self.retrain)
        check_engine(self.engine, trains)
        if self.train.values and not trains:
            why = "--epochs 0 means no training" if self.epochs == 0 else "a --recipe trains only with --retrain"
            raise UsageError(f"--train says how to train, and nothing will be trained: {why}")
        check_compile(str(self.train.values.get(COMPILE)), self.engine, self.processes.several)
        if self.metric not in METRICS:
            raise UsageError(f"--metric {self.metric} is not known; it is one of {', '.join(METRICS)}")
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision {self.precision} is not known; it is one of {', '.join(PRECISIONS)}")
        if not self.goals.count and self.recipe is None:
            raise UsageError(f"no goals given; name one or two of {_ALL_GOALS} (a --recipe needs none)")
        if self.goals.max_drop is not None and self.data is None:
            raise UsageError("--max-drop needs labels to measure a drop with; give --data")
        if self.metric == "accuracy" and self.data is None:
            raise UsageError("--metric accuracy needs labels; give --data")
        if self.validation is not None and self.data is None:
            raise UsageError("--validation goes with --data")
        for name in ("preprocess", "classes"):
            if getattr(self, name) is not None and self.data is None:
                raise UsageError(f"--{name} says how to read data; give it with --data")
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


def parse_duration(text: str, option: str) -> float:
    """Seconds of `8ms`, `30m`, `1.5h`.

    Raises:
        UsageError: Not a number with one of the units us, ms, s, m, h; the option is named.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        unit = f" (is it {text}ms, {text}s or {text}m?)" if _PLAIN.fullmatch(text) else ""
        raise UsageError(
            f"{option} {text!r} is not a duration{unit}; write a number with a unit, such as 8ms, 90s, 30m or 2h"
        )
    return float(match[1]) * _UNITS_S[match[2]]


def parse_factor(text: str, option: str) -> float:
    """The number of `2.5` or `2.5x`.

    Raises:
        UsageError: Not such a number; the option is named.
    """
    return _number(text.removesuffix("x"), text, option, "is not a factor; write how many times, such as 2.5 or 2.5x")


def parse_share(text: str, option: str) -> float:
    """The number of `0.5`, `.5` or `50%`.

    Raises:
        UsageError: Not such a number; the option is named.
    """
    scale = 100 if text.endswith("%") else 1
    return _number(text.removesuffix("%"), text, option, "is not a share; write a number such as 0.5 or 50%") / scale


def parse_points(text: str, option: str) -> float:
    """Percentage points: 0.5 of `0.5` and of `0.5%`.

    Raises:
        UsageError: Not such a number; the option is named.
    """
    form = "is not a number; write percentage points, such as 0.5 (from 91.0 to 90.5 %)"
    return _number(text.removesuffix("%"), text, option, form)


def parse_input_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Name to shape of texts such as `image=1x3x224x224`.

    Raises:
        UsageError: Not of that form, a size below 1, or a name that is given twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        if not name:
            raise UsageError(
                f"--input-shape {text!r} is not of the form name=1x3x224x224: it names no input "
                "(pfir inspect MODEL --json lists them)"
            )
        parts = sizes.split("x")
        if not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
            raise UsageError(
                f"--input-shape {text!r} is not of the form name=1x3x224x224: sizes are whole numbers of "
                "at least 1, joined by x"
            )
        if name in shapes:
            raise UsageError(f"--input-shape gives {name!r} twice")
        shapes[name] = tuple(int(p) for p in parts)
    return shapes


def _number(digits: str, text: str, option: str, else_say: str) -> float:
    try:
        value = float(digits)
    except ValueError:
        point = f" (is it {text.replace(',', '.')}?)" if text.count(",") == 1 else ""
        raise UsageError(f"{option} {text!r} {else_say}{point}") from None
    if not math.isfinite(value):
        raise UsageError(f"{option} {text!r} is not a finite number")
    return value


def _above(option: str, value: float | None, bound: float) -> None:
    if value is not None and not (math.isfinite(value) and value > bound):
        raise UsageError(f"{option} is {value:g}; it must be above {bound:g}")
