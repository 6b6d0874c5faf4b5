"""One training step: shards of a batch run side by side, their gradients summed in a fixed order.

A batch is cut into shards of a size that does not depend on the number of threads, and each shard runs on one thread.
Small convolutions use two cores this way (ONNX Runtime's own threads inside an operator slow them down), and the
result is the same bit by bit for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.batch import own_batch, with_batch
from pfir.train.canonical.canonicalize import canonicalize, reached_by
from pfir.train.canonical.supported import REASONS, differentiable
from pfir.train.flat import FlatBuffer
from pfir.train.gradients import GradientGraph, build_gradients
from pfir.train.runtime import session

# More samples a shard are no faster (ResNet-20: 16 to 64 within 5 %), fewer make BatchNormalization's statistics rough.
MOST_PER_SHARD = 32
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

    Attributes:
        parameters: Flat buffer of what is learnt; write into `parameters.flat` to change it.
        gradients: Flat buffer of the mean gradient of the last step.
        statistics: Flat buffer of BatchNormalization's running statistics.
        scalars: Names of the loss and the metrics.

    Raises:
        TrainingError: An operator on the way to the loss has no gradient.
    """

    def __init__(self, graph: TrainingGraph, shapes: Mapping[str, tuple[int, ...]], batch: int, jobs: int = 1) -> None:
        self.shard, sized = _sized(graph.model, shapes, batch)
        built = _build(replace(graph, model=sized))
        self.batch, self.scalars = batch, built.scalars
        self.parameters, self.gradients = FlatBuffer(built.parameters), FlatBuffer(built.parameters)
        self.statistics = FlatBuffer(built.statistics)
        self._session = session(built.proto, 1)
        self._shards = [_Shard(self, built) for _ in range(batch // self.shard)]
        self._pool = ThreadPoolExecutor(jobs) if jobs > 1 and len(self._shards) > 1 else None

    def step(self, feeds: Mapping[str, np.ndarray]) -> Step:
        """Compute loss and gradients of `[batch, ...]` arrays by input name; running statistics move on."""
        starts = range(0, self.batch, self.shard)
        parts = [{n: x[at : at + self.shard] for n, x in feeds.items()} for at in starts]
        run = self._pool.map if self._pool else map
        list(run(_Shard.run, self._shards, parts))
        return self._gather()

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
        if self._pool:
            self._pool.shutdown()

    def _gather(self) -> Step:
        _mean_into(self.gradients.flat, [s.gradients.flat for s in self._shards])
        _mean_into(self.statistics.flat, [s.statistics.flat for s in self._shards])
        for shard in self._shards:
            shard.statistics.flat[:] = self.statistics.flat
        scalars = np.zeros(len(self.scalars), np.float32)
        _mean_into(scalars, [s.scalars for s in self._shards])
        return Step(scalars)


class _Shard:
    """Buffers of one shard, bound to the session once."""

    def __init__(self, owner: TrainSession, built: GradientGraph) -> None:
        self._session = owner._session
        self._binding = self._session.io_binding()
        self._owner = owner
        self.gradients, self.statistics = FlatBuffer(built.parameters), FlatBuffer(built.statistics)
        self.scalars = np.zeros(len(built.scalars), np.float32)
        self._inputs = {}
        known = {**owner.parameters.views, **self.statistics.views}
        for taken in self._session.get_inputs():
            array = known.get(taken.name)
            if array is None:
                array = self._inputs[taken.name] = np.zeros(taken.shape, _NUMPY[taken.type])
            self._bind(self._binding.bind_input, taken.name, array)
        for name, gradient in self.gradients.views.items():
            self._bind(self._binding.bind_output, f"{name}_grad", gradient)
        for name, updated in built.statistics_outputs.items():
            self._bind(self._binding.bind_output, updated, self.statistics.views[name])
        for i, name in enumerate(built.scalars):
            self._bind(self._binding.bind_output, name, self.scalars[i : i + 1].reshape(()))

    def run(self, feeds: Mapping[str, np.ndarray]) -> None:
        for name, array in self._inputs.items():
            array[...] = feeds[name]
        self._session.run_with_iobinding(self._binding)

    @staticmethod
    def _bind(bind: Callable[..., None], name: str, array: np.ndarray) -> None:
        bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(double)": np.float64,
}


def _sized(model: Model, shapes: Mapping[str, tuple[int, ...]], batch: int) -> tuple[int, Model]:
    """The shard's size, and the model at that batch; the model's own batch where it works with no other."""
    shard = _shard(model, shapes, batch)
    try:
        return shard, with_batch(model, {n: (shard, *s) for n, s in shapes.items()})
    except TrainingError:
        own = own_batch(model)
        if own is None or batch % own:
            raise
        return own, with_batch(model, {n: (own, *s) for n, s in shapes.items()})


def _shard(model: Model, shapes: Mapping[str, tuple[int, ...]], batch: int) -> int:
    """The largest divisor of the batch within the limits."""
    values = max(1, _values_per_sample(model, shapes))
    limit = min(MOST_PER_SHARD, max(1, MOST_VALUES_PER_SHARD // values))
    return max(d for d in range(1, min(limit, batch) + 1) if batch % d == 0)


def _values_per_sample(model: Model, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """A rough count of activations: what ONNX's shape inference can size at the model's own batch."""
    from pfir.train.canonical.canonicalize import infer

    own = own_batch(model) or 1
    copy = with_batch(model, {n: (own, *s) for n, s in shapes.items()})
    infer(copy)
    sizes = [t.shape for n in copy.graph.nodes for t in n.outputs if t.shape and all(t.shape)]
    return sum(int(np.prod(s)) for s in sizes) // own


def _build(graph: TrainingGraph) -> GradientGraph:
    canonical = canonicalize(graph.model, graph.trainable, graph.frozen_batch_norm)
    held = canonical.model.initializers()
    trainable = tuple(n for n in graph.trainable if n in held)
    learning = reached_by(canonical.model.graph, trainable)
    for node in canonical.model.graph.nodes:
        if node.name in learning and not differentiable(node):
            reason = REASONS.get(node.op, "ONNX Runtime has no gradient for it")
            raise TrainingError(f"node {node.name} ({node.op}) cannot be trained: {reason}")
    if not trainable:
        raise TrainingError(f"{graph.model.name} has no weights that reach its outputs; there is nothing to train")
    return build_gradients(canonical.model.to_proto(), graph.loss, trainable, canonical.statistics)


def _mean_into(target: np.ndarray, parts: list[np.ndarray]) -> None:
    """The mean, summed in the order of the parts."""
    if not target.size:
        return
    target[:] = parts[0]
    for part in parts[1:]:
        target += part
    target *= np.float32(1.0 / len(parts))
