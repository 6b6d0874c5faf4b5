"""`--train`: what a user says of training, as text and as fields of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pfir.errors import UsageError
from pfir.passes.distillation.attach_teacher import LOSSES, DistillationSettings
from pfir.passes.distillation.features import AUTO_FEATURES
from pfir.train.engines.base import AUTOCASTS, COMPILES
from pfir.train.feeding.mixing import Mixing
from pfir.train.settings import ADAMW, AUGMENT, OPTIMIZERS, SCHEDULES, SGD, Settings

Record = TypeVar("Record")

OPTION = "--train"
LOSS, COMPILE, _OWN = "loss", "compile", ".onnx"
RATES = {SGD: 1.0, ADAMW: 0.02}
"""By optimizer, of the rate that is chosen for SGD, where a user names none: AdamW's 0.001 for 0.05. Its steps are as
long as the rate whatever the gradient is, and 0.001 and less are what it is used with."""


@dataclass(frozen=True)
class Key:
    """A name of `--train`.

    Args:
        record: The dataclass of settings that it belongs to, which checks its range, too.
        field: Of that dataclass.
        read: Its value from text; a ValueError means that it is none.
        form: What the text must be.
    """

    record: type
    field: str
    read: Callable[[str], object]
    form: str


def _or_none(read: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: None if text == "none" else read(text)


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(":"))


def _tensors(text: str) -> tuple[str, ...]:
    if text == "none":
        return ()
    return AUTO_FEATURES if text == "auto" else tuple(text.split(":"))


_FLOAT = "a number of at least 0"


KEYS: Mapping[str, Key] = {
    "lr": Key(Settings, "learning_rate", float, "a number above 0"),
    "batch": Key(Settings, "batch", int, "a whole number"),
    "accumulate": Key(Settings, "accumulate", int, "a whole number"),
    "optimizer": Key(Settings, "optimizer", str, " or ".join(OPTIMIZERS)),
    "schedule": Key(Settings, "schedule", str, " or ".join(SCHEDULES)),
    "milestones": Key(Settings, "milestones", _shares, "shares of the training such as 0.5:0.75"),
    "factor": Key(Settings, "factor", float, "a number between 0 and 1"),
    "warmup": Key(Settings, "warmup_share", float, "a share of the training"),
    "momentum": Key(Settings, "momentum", float, "a number below 1"),
    "weight_decay": Key(Settings, "weight_decay", float, "a number of at least 0"),
    "clip": Key(Settings, "clip", _or_none(float), "a number above 0, or none"),
    "ema": Key(Settings, "ema", _or_none(float), "a number between 0 and 1, or none"),
    "autocast": Key(Settings, "autocast", str, " or ".join(AUTOCASTS)),
    COMPILE: Key(Settings, "compile", str, f"{', '.join(COMPILES[:-1])} or {COMPILES[-1]}"),
    "augment": Key(Settings, "augment", str, " or ".join(AUGMENT)),
    "mixup": Key(Mixing, "mixup", float, _FLOAT),
    "cutmix": Key(Mixing, "cutmix", float, _FLOAT),
    "temperature": Key(DistillationSettings, "temperature", float, "a number above 0"),
    "teacher_weight": Key(DistillationSettings, "teacher_weight", float, _FLOAT),
    "label_weight": Key(DistillationSettings, "label_weight", float, _FLOAT),
    "label_smoothing": Key(DistillationSettings, "label_smoothing", float, "a share below 1"),
    "target_weight": Key(DistillationSettings, "target_weight", float, _FLOAT),
    LOSS: Key(DistillationSettings, "loss", str, f"{', '.join(LOSSES)} or an .onnx file"),
    "features": Key(DistillationSettings, "features", _tensors, "auto, none or tensors with colons between"),
    "feature_weight": Key(DistillationSettings, "feature_weight", float, _FLOAT),
}


@dataclass(frozen=True)
class TrainOptions:
    """What is said of training; all else is chosen.

    Args:
        values: By name of a key.
        decided: The same as a recipe tells it of what pfir decided by a clock: followed where nothing else is said, and
            no part of the text.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    decided: Mapping[str, Any] = field(default_factory=dict)

    def over(self, chosen: Record) -> Record:
        """Settings of any kind with what is said of their fields in place of what was chosen."""
        here = {name: v for name, v in {**self.decided, **self.values}.items() if KEYS[name].record is type(chosen)}
        said = {KEYS[name].field: v for name, v in here.items() if name != LOSS or self.own_loss is None}
        return replace(chosen, **said)  # type: ignore[type-var]  # settings are dataclasses

    @property
    def own_loss(self) -> Path | None:
        """The file of a loss of the user's own."""
        loss = str(self.values.get(LOSS, ""))
        return Path(loss) if loss.endswith(_OWN) else None

    def says(self, name: str) -> bool:
        """Whether there is a value for this key."""
        return name in self.values

    def text(self) -> str:
        """As it is written, name=value with commas between."""
        return ",".join(f"{name}={_written(value)}" for name, value in self.values.items())


NO_OPTIONS = TrainOptions()


def parse_train(text: str) -> TrainOptions:
    """The options of a text such as `lr=0.01,optimizer=adamw`.

    Raises:
        UsageError: A name is not known or given twice, or a value is none of its kind or out of its range.
    """
    values: dict[str, object] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in KEYS:
            raise UsageError(
                f"{OPTION} {part.strip()!r} is not known; write name=value with commas between: {_known()}"
            )
        if name in values:
            raise UsageError(f"{OPTION} gives {name} twice")
        values[name] = _value(name, value)
    return TrainOptions(values)


def _value(name: str, text: str) -> object:
    """The value, which has been tried in its settings."""
    key = KEYS[name]
    if name == LOSS and text.endswith(_OWN):
        if not Path(text).is_file():
            raise UsageError(f"{OPTION} {name}={text}: there is no such file")
        return text
    try:
        value = key.read(text)
        key.record(**{key.field: value})
    except ValueError as error:
        why = f" ({error})" if isinstance(error, UsageError) else ""
        raise UsageError(f"{OPTION} {name}={text} must be {key.form}{why}; there are {_known()}") from None
    return value


def _known() -> str:
    return ", ".join(f"{name} ({key.form})" for name, key in KEYS.items())


def _written(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ":".join(map(str, value)) or "none"
    return str(value)
