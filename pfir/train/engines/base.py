"""What an engine promises: a training graph made something that computes loss and gradients, a shard at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from pfir.ir.training import TrainingGraph
from pfir.train.flat import FlatBuffer

Arrays = Mapping[str, np.ndarray]
NO_AUTOCAST, BFLOAT16 = "none", "bfloat16"
AUTOCASTS = (NO_AUTOCAST, BFLOAT16)
"""What products of layers are computed in, beside float32."""
AUTO_COMPILE, NEVER_COMPILE, ALWAYS_COMPILE = "auto", "never", "always"
COMPILES = (AUTO_COMPILE, NEVER_COMPILE, ALWAYS_COMPILE)
"""Whether steps are compiled; `auto` is where that pays (`fitting/compiling.py`)."""


class Shard(Protocol):
    """One shard of a batch.

    Attributes:
        gradients: Of the parameters, in their places.
        statistics: Running statistics of BatchNormalization: read, and moved on by every run.
        scalars: float32, loss and metrics in the program's order.
    """

    gradients: FlatBuffer
    statistics: FlatBuffer
    scalars: np.ndarray

    def run(self, feeds: Arrays) -> None:
        """Fill in loss, metrics and gradients for `[shard, ...]` arrays by input name."""


class Program(Protocol):
    """A training graph that can be run.

    Attributes:
        parameters: What is learnt, by name, at its first values.
        statistics: Running statistics by name, at their first values.
        scalars: Names of the loss and of the metrics.
    """

    parameters: Arrays
    statistics: Arrays
    scalars: tuple[str, ...]

    def shard(self, parameters: FlatBuffer) -> Shard:
        """Room for one shard, which reads these parameters as they are when it runs."""

    def compile(self, shards: Sequence[Shard], feeds: Arrays) -> None:
        """Make the steps of shards of this program compiled ones; their results differ by roundings from now on.

        Called in a thread that was prepared to run shards, where the engine can compile.

        Args:
            shards: Not moved.
            feeds: Of one shard; all that come will have their shapes.

        Raises:
            TrainingError: They cannot be compiled, and are as they were.
        """

    def uncompile(self, shards: Sequence[Shard]) -> None:
        """Make the steps of shards what they were before they were compiled."""


class Engine(Protocol):
    """A library that differentiates.

    Attributes:
        name: As `--engine` has it.
        cuts: Whether batches are cut into shards that run side by side.
    """

    name: str
    cuts: bool

    def build(self, graph: TrainingGraph, autocast: str = NO_AUTOCAST) -> Program:
        """The graph, whose inputs all have fixed sizes, as a program.

        Args:
            autocast: One of `AUTOCASTS`.

        Raises:
            UsageError: This engine has no such products.
            TrainingError: An operator on the way to the loss has no gradient, or is not known.
        """

    def why_not_compiled(self) -> str | None:
        """Why steps cannot be compiled here, as the end of a sentence; None where they can."""

    def prepare_thread(self, threads: int) -> None:
        """Called in every thread that runs shards: it may use so many threads itself."""
