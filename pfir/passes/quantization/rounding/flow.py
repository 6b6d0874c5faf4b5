"""What flows through a quantized network and its float one on the calibration data, segment by segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.rounding.segments import Segment, opened

CHUNK = 32
"""Samples in one run."""

Arrays = dict[str, np.ndarray]


class Flow:
    """The values at the start of a segment, in a quantized model as it is by then and in its float one.

    Args:
        model: Quantized; its initializers may be given other values, those behind the present segment at any time.
        reference: The float model.
        context: Gives the samples.
        most: Samples to take at most.

    Attributes:
        ours, theirs: Values of the segment's inputs by name, [N, ...].

    Raises:
        UsageError: There are no samples.
    """

    def __init__(self, model: Model, reference: Model, context: Context, most: int) -> None:
        self._model, self._reference = model, reference
        self.ours = _given(reference, context, most)
        self.theirs = dict(self.ours)

    def quantized(self, segment: Segment, names: Sequence[str]) -> Iterator[Arrays]:
        """These tensors of the quantized model, [n, ...], in runs of a few samples."""
        return values(self._model, segment, names, self.ours)

    def floats(self, segment: Segment, names: Sequence[str]) -> Iterator[Arrays]:
        """These tensors of the float model, likewise."""
        return values(self._reference, segment, names, self.theirs)

    def advance(self, segment: Segment) -> None:
        """Go to the end of a segment, whose integers are final."""
        self.ours = _joined(self.quantized(segment, segment.outputs))
        self.theirs = _joined(self.floats(segment, segment.outputs))


def values(model: Model, segment: Segment, names: Sequence[str], feeds: Mapping[str, np.ndarray]) -> Iterator[Arrays]:
    """These tensors of a model that starts at a segment, in runs of a few samples."""
    computed = [name for name in dict.fromkeys(names) if name not in feeds]
    session = opened(model, segment.inputs, computed) if computed else None
    needed = {t.name for t in session.inputs} if session is not None else set()
    for start in range(0, len(next(iter(feeds.values()))), CHUNK):
        part = {name: x[start : start + CHUNK] for name, x in feeds.items()}
        found = session.predict({n: x for n, x in part.items() if n in needed}) if session is not None else {}
        yield {name: found[name] if name in found else part[name] for name in names}


def _given(model: Model, context: Context, most: int) -> Arrays:
    activations = context.activations or context.generated
    if activations is None:
        raise UsageError("rounding learns from calibration data, and none was given (--data)")
    names = [t.name for t in model.graph.inputs]
    parts: list[Arrays] = []
    for batch in activations(model, names):
        parts.append({name: batch[name][: most - sum(len(p[names[0]]) for p in parts)] for name in names})
        if sum(len(p[names[0]]) for p in parts) >= most:
            break
    if not parts:
        raise UsageError("rounding learns from calibration data, but there are no samples")
    return _joined(iter(parts))


def _joined(parts: Iterator[Arrays]) -> Arrays:
    every = list(parts)
    return {name: np.concatenate([part[name] for part in every]) for name in every[0]}
