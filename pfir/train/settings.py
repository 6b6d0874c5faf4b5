"""What a user or a search may choose about training."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

from pfir.errors import UsageError
from pfir.system.host_cpu import usable_cores
from pfir.train.engines.base import AUTO_COMPILE, AUTOCASTS, COMPILES, NO_AUTOCAST
from pfir.train.engines.choice import AUTO_ENGINE, ENGINES
from pfir.train.feeding.mixing import Mixing
from pfir.train.optimizing.schedule import COSINE, SCHEDULES

AUGMENT = ("none", "flip-crop")
SGD, ADAMW = "sgd", "adamw"
OPTIMIZERS = (SGD, ADAMW)


@dataclass(frozen=True)
class Settings:
    """How a training graph is fitted.

    Args:
        epochs: Passes over the data, >= 1.
        batch: Samples that are differentiated at a time, >= 1.
        accumulate: Batches a step, whose mean gradient it takes, >= 1.
        optimizer: `sgd` (with Nesterov momentum) or `adamw`.
        learning_rate: Its peak, > 0.
        schedule: How the rate goes on after it: `cosine`, `step` or `constant`.
        milestones: Shares of the training at which `step` falls, in (0, 1), rising.
        factor: What the rate is multiplied by at each, in (0, 1).
        warmup_share: Share of the training during which the rate rises, in [0, 1).
        momentum: Of Nesterov's method, or the first decay of AdamW, in [0, 1).
        weight_decay: What is added to the gradient of a weight, times the weight, or with `adamw` taken from the weight
            directly; >= 0. Biases, norms and slopes do not decay.
        clip: Largest L2 norm of the whole gradient; None for no limit.
        ema: How much of the average of weights each step leaves, in (0, 1); None for no average.
        seed: Of the order of the samples and their augmentation.
        jobs: Threads; None for one per core. With ONNX Runtime they change the speed, not the result.
        engine: `ort`, `torch`, or `auto` for the one that is there (`engines/choice.py`).
        autocast: `bfloat16` for products of layers in that type, with PyTorch alone, or `none`; weights, gradients and
            the optimizer are float32 either way.
        compile: Whether steps are compiled, with PyTorch alone: `auto` where that pays, `never` or `always`.
        augment: `none`, or `flip-crop` for images that may be mirrored and moved.
        mixing: How samples are mixed by twos, the teacher answering for what comes of it.
        renew: Whether every epoch has other samples, where the data can make some: generated inputs.
        time_budget_s: Seconds after which training ends, however many epochs are left; the learning rate falls
            accordingly. None for no limit.
        checkpoint: File for the state of the training; a training with the same data, settings and start goes on from
            it. None for none.
        checkpoint_every_s: Seconds between two writes within an epoch.
    """

    epochs: int = 10
    batch: int = 128
    accumulate: int = 1
    optimizer: str = SGD
    learning_rate: float = 0.01
    schedule: str = COSINE
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    warmup_share: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float | None = 5.0
    ema: float | None = None
    seed: int = 0
    jobs: int | None = None
    engine: str = AUTO_ENGINE
    autocast: str = NO_AUTOCAST
    compile: str = AUTO_COMPILE
    augment: str = "none"
    mixing: Mixing = Mixing()
    renew: bool = False
    time_budget_s: float | None = None
    checkpoint: Path | None = None
    checkpoint_every_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate"):
            _at_least(name, getattr(self, name), 1)
        _at_least("weight_decay", self.weight_decay, 0)
        for name in ("momentum", "warmup_share"):
            _share(name, getattr(self, name))
        for name in ("learning_rate", "clip", "time_budget_s"):
            _above_zero(name, getattr(self, name))
        for name in ("factor", "ema"):
            _between(name, getattr(self, name))
        _rising("milestones", self.milestones)
        if self.jobs is not None:
            _at_least("jobs", self.jobs, 1)
        _one_of("engine", self.engine, ENGINES)
        _one_of("autocast", self.autocast, AUTOCASTS)
        _one_of("compile", self.compile, COMPILES)
        _one_of("augment", self.augment, AUGMENT)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)

    @property
    def samples_per_step(self) -> int:
        return self.batch * self.accumulate

    @property
    def threads(self) -> int:
        return self.jobs or usable_cores()

    def identity(self) -> str:
        """The settings that decide the result, as text."""
        names = (f.name for f in fields(self) if f.name not in _NO_MATTER)
        return repr([(name, getattr(self, name)) for name in names])


_NO_MATTER = ("jobs", "engine", "time_budget_s", "checkpoint", "checkpoint_every_s")
"""Settings that decide how long a training takes, and what is kept of it."""


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise UsageError(f"{name} is {value}; it must be at least {least}")


def _above_zero(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise UsageError(f"{name} is {value}; it must be above 0")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UsageError(f"{name} is {value}; it must be in [0, 1)")


def _between(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < 1:
        raise UsageError(f"{name} is {value}; it must be in (0, 1)")


def _rising(name: str, values: tuple[float, ...]) -> None:
    if not all(a < b for a, b in pairwise((0.0, *values, 1.0))):
        raise UsageError(f"{name} is {values}; they must be in (0, 1) and rise")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {value}; it must be one of {', '.join(known)}")
