"""Optimizer, schedule and average of a training, by its settings."""

from __future__ import annotations

from pfir.ir.model import Model
from pfir.train.flat import FlatBuffer
from pfir.train.optimizing.adamw import AdamW
from pfir.train.optimizing.average import WeightAverage
from pfir.train.optimizing.base import Optimizer
from pfir.train.optimizing.decay import decay_of
from pfir.train.optimizing.schedule import Schedule
from pfir.train.optimizing.sgd import NesterovSgd
from pfir.train.settings import ADAMW, Settings


def optimizer_of(settings: Settings, model: Model, parameters: FlatBuffer) -> Optimizer:
    """What moves the parameters of a model."""
    decay = decay_of(model, parameters, settings.weight_decay)
    kind = AdamW if settings.optimizer == ADAMW else NesterovSgd
    return kind(decay.size, decay, settings.momentum, settings.clip)


def schedule_of(settings: Settings) -> Schedule:
    """The learning rate over the training."""
    falls = (settings.milestones, settings.factor)
    return Schedule(settings.learning_rate, settings.warmup_share, settings.schedule, *falls)


def average_of(settings: Settings, parameters: FlatBuffer, statistics: FlatBuffer) -> WeightAverage | None:
    """The average of weights; None where none is asked for."""
    if settings.ema is None:
        return None
    return WeightAverage(parameters.flat.size, statistics.flat.size, settings.ema)
