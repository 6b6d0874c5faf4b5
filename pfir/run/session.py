"""A model run by ONNX Runtime on the CPU, on any number of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import helper

from pfir.artifact import TensorSpec, whole_inputs
from pfir.errors import DataError, FrontendError
from pfir.ir.model import Model
from pfir.run.batch import with_free_batch

Arrays = dict[str, np.ndarray]

# Wide and narrow runs sum in another order; float32 nets differ by a few units in the sixth digit.
_RELATIVE_TOLERANCE = 1e-3
_ABSOLUTE_TOLERANCE = 1e-4


class Session:
    """ONNX Runtime on one model.

    A model of a fixed batch b still takes N samples: in one run where freeing its batch provably changes nothing on
    the first 2 b samples, else in N / b runs, whose outputs are joined along axis 0.

    Args:
        model: The model, or the bytes of an ONNX file that holds its own weights.
        threads: Threads within an operator.
        is_fused: Whether nodes may be fused: pairs of QuantizeLinear and DequantizeLinear then become kernels of
            integers, whose roundings may fall otherwise where a value lies between two steps.

    Raises:
        FrontendError: ONNX Runtime cannot load the model.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __init__(self, model: Model | bytes, threads: int = 1, is_fused: bool = True) -> None:
        self._model = model
        self._threads, self._is_fused = threads, is_fused
        self._run = _open(loadable(model), threads, is_fused)
        self.inputs = tuple(_spec(t) for t in self._run.get_inputs())
        self.outputs = tuple(_spec(t) for t in self._run.get_outputs())
        self._whole = whole_inputs(self.inputs)
        self._batch = _fixed_batch([t for t in self.inputs if t.name not in self._whole])
        self._wide = None
        self._loops = False
        self._apart = False

    def predict(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Every output by name, for inputs [N, ...] by name.

        Raises:
            DataError: An input is missing, unknown, or of a shape or type that the model does not take.
            FrontendError: The model fails while running.
        """
        feeds = self._checked(feeds)
        count = self._samples(feeds)
        if self._batch is None or count == self._batch:
            return self._direct(feeds, count)
        return self._any_batch(feeds, count, self._batch)

    def by_sample(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Every output by name as [N, ...], one entry a sample, wherever the model has its samples in an output.

        Raises:
            As `predict`.
        """
        feeds = self._checked(feeds)
        count = self._samples(feeds)
        if not self._apart:
            found = {name: self._turned(name, y) for name, y in self.predict(feeds).items()}
            if all(y.ndim and len(y) == count for y in found.values()):
                return found
            self._apart = True
        return self._chunks(feeds, count, self._batch or 1, _samples_first)

    def _turned(self, name: str, y: np.ndarray) -> np.ndarray:
        """An output whose number of samples is declared behind its first axis, with that axis in front."""
        declared = next(t.shape for t in self.outputs if t.name == name)
        size = self._sample_size()
        if not isinstance(size, str) or size not in declared or len(declared) != y.ndim:
            return y
        return np.moveaxis(y, declared.index(size), 0)

    def _sample_size(self) -> int | str | None:
        """What the model declares as the number of samples."""
        return next((t.shape[0] for t in self.inputs if t.name not in self._whole), None)

    def _direct(self, feeds: Arrays, count: int) -> Arrays:
        """A run as the model declares itself; where its free batch is a lie (a literal Reshape), as one of batch 1."""
        if self._loops:
            return self._chunks(feeds, count, 1)
        try:
            return _call(self._run, self._rows(feeds, np.arange(count), count))
        except (DataError, FrontendError):
            if self._batch is not None or count < 2:
                raise
        return self._any_batch(feeds, count, 1)

    def _any_batch(self, feeds: Arrays, count: int, batch: int) -> Arrays:
        if self._wide is None and not self._loops and count > batch:
            self._wide = self._tested_wide(feeds, batch)
            self._loops = self._wide is None
        if self._wide is None:
            return self._chunks(feeds, count, batch)
        return _call(self._wide, self._rows(feeds, np.arange(count), count))

    def _tested_wide(self, feeds: Arrays, batch: int):
        """A session of free batch, or None if two batches run at once differ from the two run in turn."""
        free = with_free_batch(loadable(self._model), batch)
        if free is None:
            return None
        count = self._samples(feeds)
        two = self._rows(feeds, np.arange(min(2 * batch, count)), count)
        if _same_halves(two, batch):
            return None  # equal samples hide what would mix them
        narrow = self._chunks(two, self._samples(two), batch)
        try:
            wide = _open(free, self._threads, self._is_fused)
            return wide if _agree(_call(wide, two), narrow) else None
        except (DataError, FrontendError):
            return None

    def _samples(self, feeds: Arrays) -> int:
        found = [x.shape[0] for name, x in feeds.items() if x.ndim and name not in self._whole]
        return max(found, default=1)

    def _rows(self, feeds: Arrays, rows: np.ndarray, count: int) -> Arrays:
        """What a run on these of `count` samples is fed; what is one for all of them is made as wide as it must be."""
        free, result = self._sample_size(), {}
        for spec in self.inputs:
            x = feeds[spec.name]
            if spec.name not in self._whole or (x.ndim and x.shape[0] != spec.shape[0] and x.shape[0] == count):
                result[spec.name] = x[rows]
            elif isinstance(free, str) and free in spec.shape:
                axis = spec.shape.index(free)
                result[spec.name] = x.take(np.arange(len(rows)) % x.shape[axis], axis)
            else:
                result[spec.name] = x
        return result

    def _chunks(self, feeds: Arrays, count: int, batch: int, rows_of: Callable | None = None) -> Arrays:
        runs = []
        for start in range(0, count, batch):
            # The last chunk is filled with its last sample, whose outputs are then cut off.
            rows = np.minimum(np.arange(start, start + batch), count - 1)
            part = _call(self._run, self._rows(feeds, rows, count))
            kept = min(batch, count - start)
            runs.append({name: (rows_of or _kept_rows)(y, batch, kept) for name, y in part.items()})
        return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        known = {spec.name: spec for spec in self.inputs}
        for name in feeds:
            if name not in known:
                raise DataError(f"input {name}: the model has no such input; it has {', '.join(known)}")
        for name in known:
            if name not in feeds:
                raise DataError(f"input {name}: nothing is fed to it; given were {', '.join(feeds) or 'none'}")
        return {name: _fitting(np.asarray(x), known[name]) for name, x in feeds.items()}


def loadable(model: Model | bytes) -> bytes:
    """Bytes that ONNX Runtime 1.19 takes; weights come from the graph, which also holds those of external files."""
    if isinstance(model, bytes):
        return model
    try:
        return model.to_proto().SerializeToString()
    except (ValueError, EncodeError) as error:  # protobuf's limit, by its version
        raise FrontendError(f"{model.name}: larger than 2 GiB, which ONNX Runtime does not take from memory") from error


def _open(data: bytes, threads: int, is_fused: bool):
    import onnxruntime as ort

    options = ort.SessionOptions()
    if not is_fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _ort_errors() as error:
        raise FrontendError(f"ONNX Runtime refuses the model: {first_line(error)}") from error


def _call(session, feeds: Arrays) -> Arrays:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except state.InvalidArgument as error:
        raise DataError(f"the model does not take these inputs: {first_line(error)}") from error
    except _ort_errors() as error:
        raise FrontendError(f"the model fails in ONNX Runtime: {first_line(error)}") from error


def _ort_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [k for k in vars(state).values() if isinstance(k, type) and issubclass(k, Exception)]
    return (*kinds, RuntimeError, UnicodeDecodeError)


def first_line(error: Exception | str) -> str:
    """The part of ONNX Runtime's text that names the fault: without its prefix codes and C++ stack."""
    if isinstance(error, UnicodeDecodeError):
        return "a text in it is not UTF-8"
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    parts = line.split(" : ", 3)
    return parts[-1].strip() if line.startswith("[ONNXRuntimeError]") else line.strip()


def _spec(tensor) -> TensorSpec:
    return TensorSpec(tensor.name, _dtype(tensor.type), tuple(tensor.shape or ()))


def _dtype(text: str) -> str:
    """NumPy's name of ONNX Runtime's `tensor(float)`; what is no tensor keeps its text."""
    inner = text[len("tensor(") : -1] if text.startswith("tensor(") else ""
    known = {name.lower(): number for name, number in onnx.TensorProto.DataType.items()}
    return np.dtype(helper.tensor_dtype_to_np_dtype(known[inner])).name if inner in known else text


def _fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """The leading size that all inputs declare as a number, or None where one is free."""
    leading = {spec.shape[0] for spec in inputs if spec.shape}
    if len(leading) != 1:
        return None
    size = leading.pop()
    return size if isinstance(size, int) and size > 0 else None


def _fitting(x: np.ndarray, spec: TensorSpec) -> np.ndarray:
    same_rank = x.ndim == len(spec.shape)
    if not same_rank or any(isinstance(n, int) and n != m for n, m in zip(spec.shape[1:], x.shape[1:], strict=True)):
        raise DataError(f"input {spec.name}: takes {_text(spec.shape)}, given is {_text(x.shape)}")
    if x.dtype.name != spec.dtype and spec.dtype.startswith("float") and x.dtype.kind == "f":
        x = x.astype(spec.dtype)
    return np.asarray(x, order="C")


def _text(shape: tuple[int | str | None, ...]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def _samples_first(y: np.ndarray, batch: int, kept: int) -> np.ndarray:
    """An output of one run, its samples moved to the front; one without any counts as a whole for each."""
    axis = next((i for i, size in enumerate(y.shape) if size == batch), None)
    if axis is None:
        return np.broadcast_to(y, (kept, *y.shape))
    return np.moveaxis(y, axis, 0)[:kept]


def _kept_rows(y: np.ndarray, batch: int, kept: int) -> np.ndarray:
    if y.ndim == 0:
        return y[None]
    return y[:kept] if y.shape[0] == batch else y


def _same_halves(two: Arrays, batch: int) -> bool:
    return all(np.array_equal(x[:batch][: len(x) - batch], x[batch:]) for x in two.values() if x.ndim)


def _agree(wide: Arrays, narrow: Arrays) -> bool:
    return all(
        wide[name].shape == y.shape
        and np.allclose(wide[name], y, _RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE, equal_nan=True)
        for name, y in narrow.items()
    )
