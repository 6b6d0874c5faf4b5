"""One training step: shards of a batch run side by side, their gradients summed in a fixed order.

A batch is cut into shards of a size that does not depend on the number of threads, and shards run side by side. Small
convolutions use two cores this way (ONNX Runtime's own threads inside an operator slow them down), and with ONNX
Runtime the result is the same bit by bit for any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.batch import own_batch, with_batch
from pfir.train.canonical.batch_norm import running_statistics
from pfir.train.engines.base import NO_AUTOCAST, Shard
from pfir.train.engines.choice import AUTO_ENGINE, engine_named
from pfir.train.flat import FlatBuffer

# More samples a shard are no faster (ResNet-20: 16 to 64 within 5 %).
MOST_PER_SHARD = 32
# Fewer make BatchNormalization's statistics rough; 16 teach what 32 do (docs/decisions/0022-busy-cores.md).
FEWEST_PER_SHARD = 16
# Activations that a shard may hold, in float32 values; gradients double it, and two shards run at a time on two cores:
# with a third more a run on the face-landmark net (2.4 MB) takes 1.7 GB, and is no faster.
MOST_VALUES_PER_SHARD = 48_000_000


@dataclass(frozen=True)
class Step:
    """What one batch gave: the mean of each scalar over the shards, in the order of `TrainSession.scalars`."""

    scalars: np.ndarray

    @property
    def loss(self) -> float:
        return float(self.scalars[0])


class TrainSession:
    """Loss, gradients and running statistics of a training graph on batches of one size.

    Args:
        graph: What to train.
        shapes: Graph input to the shape of one sample, without the batch.
        batch: Samples a step.
        jobs: Threads.
        engine: One of `engines.choice.ENGINES`.
        halves: Whether a batch that is one shard becomes two, for two threads, where BatchNormalization learns nothing,
            or a half is enough for its statistics.
        autocast: What products are computed in (`engines/base.py`).

    Attributes:
        engine: The name of the one that was chosen.
        chosen: That one.
        parameters: Flat buffer of what is learnt; write into `parameters.flat` to change it.
        gradients: Flat buffer of the mean gradient of the last step.
        statistics: Flat buffer of BatchNormalization's running statistics.
        scalars: Names of the loss and the metrics.

    Raises:
        TrainingError: An operator on the way to the loss has no gradient.
        UsageError: The engine is not installed, or has no such products.
    """

    def __init__(
        self,
        graph: TrainingGraph,
        shapes: Mapping[str, tuple[int, ...]],
        batch: int,
        jobs: int = 1,
        engine: str = AUTO_ENGINE,
        halves: bool = False,
        autocast: str = NO_AUTOCAST,
    ) -> None:
        chosen = engine_named(engine)
        most = _most(graph, batch, halves) if chosen.cuts else None
        self.shard, sized = _sized(graph.model, shapes, batch, most)
        program = chosen.build(replace(graph, model=sized), autocast)
        self.chosen, self._program = chosen, program
        self.engine, self.batch, self.scalars = chosen.name, batch, program.scalars
        self.parameters, self.gradients = FlatBuffer(program.parameters), FlatBuffer(program.parameters)
        self.statistics = FlatBuffer(program.statistics)
        self._shards = [program.shard(self.parameters) for _ in range(batch // self.shard)]
        workers = min(jobs, len(self._shards))
        self._pool = ThreadPoolExecutor(workers, initializer=chosen.prepare_thread, initargs=(jobs // workers,))

    def step(self, feeds: Mapping[str, np.ndarray]) -> Step:
        """Compute loss and gradients of `[batch, ...]` arrays by input name; running statistics move on."""
        starts = range(0, self.batch, self.shard)
        parts = [{n: x[at : at + self.shard] for n, x in feeds.items()} for at in starts]
        list(self._pool.map(_run, self._shards, parts))
        return self._gather()

    def compile(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Make its steps compiled ones, for `[batch, ...]` arrays such as these; nothing is learnt.

        Raises:
            TrainingError: They cannot be compiled, and are as they were.
        """
        part = {n: x[: self.shard] for n, x in feeds.items()}
        self._pool.submit(self._program.compile, self._shards, part).result()

    def uncompile(self) -> None:
        """Make its steps what they were before they were compiled."""
        self._program.uncompile(self._shards)

    def set_statistics(self, flat: np.ndarray) -> None:
        """Go back to these running statistics."""
        for buffer in (self.statistics, *(s.statistics for s in self._shards)):
            buffer.flat[:] = flat

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of parameters and statistics by initializer name."""
        both = {**self.parameters.views, **self.statistics.views}
        return {n: x.copy() for n, x in both.items()}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _gather(self) -> Step:
        _mean_into(self.gradients.flat, [s.gradients.flat for s in self._shards])
        _mean_into(self.statistics.flat, [s.statistics.flat for s in self._shards])
        for shard in self._shards:
            shard.statistics.flat[:] = self.statistics.flat
        scalars = np.zeros(len(self.scalars), np.float32)
        _mean_into(scalars, [s.scalars for s in self._shards])
        return Step(scalars)


def is_one_shard(batch: int) -> bool:
    """Whether a batch is no larger than a shard; of several processes the batch of all tells, which cut it alike."""
    return batch <= MOST_PER_SHARD


def _run(shard: Shard, feeds: Mapping[str, np.ndarray]) -> None:
    shard.run(feeds)


def _most(graph: TrainingGraph, batch: int, halves: bool) -> int:
    """Samples a shard at most."""
    if not halves or not is_one_shard(batch):
        return MOST_PER_SHARD
    fewest = 1 if graph.frozen_batch_norm or not running_statistics(graph.model.graph) else FEWEST_PER_SHARD
    return batch // 2 if batch // 2 >= fewest else MOST_PER_SHARD


def _sized(model: Model, shapes: Mapping[str, tuple[int, ...]], batch: int, most: int | None) -> tuple[int, Model]:
    """The shard's size, and the model at that batch; the model's own batch where it works with no other.

    Args:
        most: Samples a shard; None for the whole batch.
    """
    shard = batch if most is None else _shard(model, shapes, batch, most)
    try:
        return shard, with_batch(model, {n: (shard, *s) for n, s in shapes.items()})
    except TrainingError:
        own = own_batch(model)
        if own is None or batch % own:
            raise
        return own, with_batch(model, {n: (own, *s) for n, s in shapes.items()})


def _shard(model: Model, shapes: Mapping[str, tuple[int, ...]], batch: int, most: int) -> int:
    """The largest divisor of the batch within the limits."""
    values = max(1, _values_per_sample(model, shapes))
    limit = min(most, max(1, MOST_VALUES_PER_SHARD // values))
    return max(d for d in range(1, min(limit, batch) + 1) if batch % d == 0)


def _values_per_sample(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A rough count of activations: what ONNX's shape inference can size at the model's own batch."""
    from pfir.train.canonical.canonicalize import infer

    own = own_batch(model) or 1
    copy = with_batch(model, {n: (own, *s) for n, s in shapes.items()})
    infer(copy)
    sizes = [t.shape for n in copy.graph.nodes for t in n.outputs if t.shape and all(t.shape)]
    return sum(int(np.prod(s)) for s in sizes) // own


def _mean_into(target: np.ndarray, parts: list[np.ndarray]) -> None:
    """The mean, summed in the order of the parts."""
    if not target.size:
        return
    target[:] = parts[0]
    for part in parts[1:]:
        target += part
    target *= np.float32(1.0 / len(parts))
