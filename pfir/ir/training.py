"""A training graph as data: passes make it, the trainer fits it, nobody exports it."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.ir.model import Model


@dataclass(frozen=True)
class TrainingGraph:
    """A model with a loss.

    Args:
        model: Student, frozen teacher (every name prefixed) and losses in one graph; the student's initializers keep
            their names, so what was learnt can be written back by name.
        loss: The scalar float output to minimise.
        trainable: Initializers to learn.
        metrics: Further scalar outputs worth showing (each term of the loss).
        labels: The int64 input `[N]` that takes the class indices; None if the loss needs none.
    """

    model: Model
    loss: str
    trainable: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    labels: str | None = None
