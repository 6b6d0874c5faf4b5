"""What a user or a search may choose about training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pfir.errors import UsageError
from pfir.system.host_cpu import usable_cores
from pfir.train.engines.choice import AUTO_ENGINE, ENGINES
from pfir.train.feeding.mixing import Mixing

AUGMENT = ("none", "flip-crop")


@dataclass(frozen=True)
class Settings:
    """How a training graph is fitted.

    Args:
        epochs: Passes over the data, >= 1.
        batch: Samples a step, >= 1.
        learning_rate: Its peak, > 0.
        momentum: Of Nesterov's method, in [0, 1).
        weight_decay: Added to the gradient of weights with two axes or more (never of biases, BatchNormalization or
            slopes), times the weight, >= 0.
        warmup_share: Share of the training during which the rate rises, in [0, 1).
        clip: Largest L2 norm of the whole gradient; None for no limit.
        seed: Of the order of the samples and their augmentation.
        jobs: Threads; None for one per core. With ONNX Runtime they change the speed, not the result.
        engine: `ort`, `torch`, or `auto` for the one that is there (`engines/choice.py`).
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
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_share: float = 0.05
    clip: float | None = 5.0
    seed: int = 0
    jobs: int | None = None
    engine: str = AUTO_ENGINE
    augment: str = "none"
    mixing: Mixing = Mixing()
    renew: bool = False
    time_budget_s: float | None = None
    checkpoint: Path | None = None
    checkpoint_every_s: float = 60.0

    def __post_init__(self) -> None:
        _at_least("epochs", self.epochs, 1)
        _at_least("batch", self.batch, 1)
        _above_zero("learning_rate", self.learning_rate)
        _share("momentum", self.momentum)
        _at_least("weight_decay", self.weight_decay, 0)
        _share("warmup_share", self.warmup_share)
        for name in ("clip", "time_budget_s"):
            if getattr(self, name) is not None:
                _above_zero(name, getattr(self, name))
        if self.jobs is not None:
            _at_least("jobs", self.jobs, 1)
        if self.engine not in ENGINES:
            raise UsageError(f"engine is {self.engine}; it must be one of {', '.join(ENGINES)}")
        if self.augment not in AUGMENT:
            raise UsageError(f"augment is {self.augment}; it must be one of {', '.join(AUGMENT)}")

    @property
    def threads(self) -> int:
        return self.jobs or usable_cores()

    def identity(self) -> str:
        """The settings that decide the result, as text."""
        chosen = (
            self.epochs,
            self.batch,
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            self.warmup_share,
            self.clip,
            self.seed,
            self.augment,
            self.renew,
            *([self.mixing] if self.mixing else []),
        )
        return repr(chosen)


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise UsageError(f"{name} is {value}; it must be at least {least}")


def _above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} is {value}; it must be above 0")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise UsageError(f"{name} is {value}; it must be in [0, 1)")
