"""ONNX Runtime training as an engine: a graph that computes its own gradients, bound to flat buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pfir.errors import TrainingError, UsageError
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.canonicalize import canonicalize, reached_by
from pfir.train.canonical.supported import REASONS, differentiable
from pfir.train.engines.base import NO_AUTOCAST, Arrays, Shard
from pfir.train.engines.onnxruntime.gradients import GradientGraph, build_gradients
from pfir.train.engines.onnxruntime.providers import providers
from pfir.train.flat import FlatBuffer
from pfir.train.runtime import session

_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(double)": np.float64,
}

_NOT_COMPILED = "ONNX Runtime compiles no steps; give --engine torch"


class OrtEngine:
    """See Engine. Each shard runs on one thread: ONNX Runtime's own slow small convolutions down."""

    name = "ort"
    cuts = True

    def build(self, graph: TrainingGraph, autocast: str = NO_AUTOCAST) -> OrtProgram:
        """See Engine."""
        if autocast != NO_AUTOCAST:
            raise UsageError(
                f"ONNX Runtime trains in float32 alone, and --train asks for autocast={autocast}: give --engine torch"
            )
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
        return OrtProgram(build_gradients(canonical.model.to_proto(), graph.loss, trainable, canonical.statistics))

    def why_not_compiled(self) -> str | None:
        """See Engine."""
        return _NOT_COMPILED

    def prepare_thread(self, threads: int) -> None:
        """Nothing: sessions have one thread."""


class OrtProgram:
    """See Program."""

    def __init__(self, built: GradientGraph) -> None:
        self.parameters: Arrays = built.parameters
        self.statistics: Arrays = built.statistics
        self.scalars = built.scalars
        self._built, self._session = built, session(built.proto, 1, providers())

    def shard(self, parameters: FlatBuffer) -> _Shard:
        """See Program."""
        return _Shard(self._session, self._built, parameters)

    def compile(self, shards: Sequence[Shard], feeds: Arrays) -> None:
        """See Program: it cannot be."""
        raise TrainingError(_NOT_COMPILED)

    def uncompile(self, shards: Sequence[Shard]) -> None:
        """See Program: they never were."""


class _Shard:
    """Buffers of one shard, bound to the session once."""

    def __init__(self, session, built: GradientGraph, parameters: FlatBuffer) -> None:
        self._session = session
        self._binding = session.io_binding()
        # What is bound must live as long as the binding.
        self._parameters = parameters
        self.gradients, self.statistics = FlatBuffer(built.parameters), FlatBuffer(built.statistics)
        self.scalars = np.zeros(len(built.scalars), np.float32)
        self._inputs = {}
        known = {**parameters.views, **self.statistics.views}
        for taken in session.get_inputs():
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

    def run(self, feeds: Arrays) -> None:
        """See Shard."""
        for name, array in self._inputs.items():
            array[...] = feeds[name]
        self._session.run_with_iobinding(self._binding)

    @staticmethod
    def _bind(bind: Callable[..., None], name: str, array: np.ndarray) -> None:
        bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
