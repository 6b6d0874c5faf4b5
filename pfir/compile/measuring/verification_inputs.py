"""What a library is verified on: samples of the data, and inputs at the ends of their range."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.artifact import Artifact
from pfir.compile.measuring.verification import SMALLEST, TOLERANCE, largest
from pfir.data.base import Dataset
from pfir.errors import DataError, FrontendError
from pfir.ir.model import Model
from pfir.run.session import Session
from pfir.target import FLOAT16

SAMPLES, MACS = 8, 1e9
"""Runs that a library is verified with, extremes among them, and how much they may multiply together: the emulated
device computes one to four hundred million float32 products a second."""
HALF_SAMPLES, HALF_MACS = 16, 2e9
"""The same of float16, of which a single sample says little of how often it answers otherwise; the emulator computes it
in software, some fifty million a second."""
SEEN = 64
"""Samples that tell an input's range."""
STEP = 1e-6
"""An extreme counts if ONNX Runtime's answer stays when the inputs move by this share of their largest value."""

Arrays = dict[str, np.ndarray]


def inputs_to_verify(dataset: Dataset, model: Model, artifact: Artifact) -> list[Arrays]:
    """A batch of samples, then extremes, then further samples, as many as the emulated device runs in seconds.

    A library of float16 gets samples only: at the ends of a range it may rightly leave what float16 can hold.

    Args:
        dataset: At least one sample.
        model: What the library was built from, every size fixed.
    """
    runs = runs_to_verify(artifact)
    samples = some_samples(dataset, batch_of(model), runs)
    if artifact.target.arithmetic == FLOAT16 or runs == 1:
        return samples
    session = Session(model)
    answers = session.predict(samples[0])
    found = [x for x in extremes(dataset, samples[0]) if is_steady(session, x, answers)][: runs - 1]
    return [samples[0], *found, *samples[1 : runs - len(found)]]


def runs_to_verify(artifact: Artifact) -> int:
    """How many sets of inputs a library is verified on."""
    half = artifact.target.arithmetic == FLOAT16
    most, budget = (HALF_SAMPLES, HALF_MACS) if half else (SAMPLES, MACS)
    macs = sum(kernel.macs for kernel in artifact.kernels)
    return min(most, max(1, int(budget / max(macs, 1))))


def some_samples(dataset: Dataset, batch: int, count: int = 1) -> list[Arrays]:
    """The first `count` batches, fewer where the data has fewer; samples repeat where it has less than one batch."""
    batches = max(1, min(count, len(dataset) // batch))
    return [dataset.batch(np.arange(i * batch, (i + 1) * batch) % len(dataset)) for i in range(batches)]


def batch_of(model: Model) -> int:
    """The length of the first input's first axis, every size fixed; 1 where there is none."""
    inputs = model.inputs()
    return max(1, int(inputs[0].shape[0])) if inputs and inputs[0].shape else 1


def extremes(dataset: Dataset, like: Mapping[str, np.ndarray]) -> list[Arrays]:
    """Inputs of the shapes of `like` at the ends of what samples hold, each value by chance at the one or the other.

    Then zeros, and each value at the end where it was not; an input of integers has its lower end in place of zero.
    """
    seen = dataset.batch(np.arange(min(SEEN, len(dataset))))
    rng = np.random.default_rng(0)
    ends, others, zeros = {}, {}, {}
    for name, x in like.items():
        low, high = (seen[name].min(), seen[name].max()) if seen[name].size else (0, 0)
        upper = rng.random(x.shape) < 0.5
        ends[name] = np.where(upper, high, low).astype(x.dtype)
        others[name] = np.where(upper, low, high).astype(x.dtype)
        zeros[name] = np.full(x.shape, 0 if x.dtype.kind == "f" else low, x.dtype)
    return [ends, zeros, others]


def is_steady(session: Session, feeds: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> bool:
    """Whether ONNX Runtime's own outputs are finite and stay when the inputs move by `STEP`.

    Elsewhere, as at ties of classes or where a division is by nothing but rounding, two right programs may differ.

    Args:
        answers: The outputs of samples, which tell how large they usually are.
    """
    try:
        here = session.predict(feeds)
        around = [session.predict(_moved(feeds, way)) for way in (1, -1)]  # of a tie one of them takes the other side
    except (DataError, FrontendError):
        return False
    return all(_close(y, moved[name], answers[name]) for moved in around for name, y in here.items())


def _moved(feeds: Mapping[str, np.ndarray], way: int) -> Arrays:
    """The inputs with each float moved a little, in the direction that chance gives it, or in the other."""
    rng = np.random.default_rng(0)
    return {name: _shifted(x, way * rng.uniform(-1, 1, x.shape)) for name, x in feeds.items()}


def _shifted(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    return (x + STEP * (float(np.abs(x).max(initial=0.0)) or 1.0) * by).astype(x.dtype)


def _close(y: np.ndarray, moved: np.ndarray, usual: np.ndarray) -> bool:
    if y.dtype.kind != "f":
        return np.array_equal(y, moved)
    if y.shape != moved.shape or not (np.isfinite(y).all() and np.isfinite(moved).all()):
        return False
    size = max(largest(y), largest(usual), SMALLEST)
    return float(np.abs(y - moved).max(initial=0.0)) <= TOLERANCE / 2 * size
