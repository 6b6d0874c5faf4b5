"""Values of tensors inside a model, a batch of samples at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pfir.data.base import Dataset
from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.run.session import Session


def activations(
    model: Model, names: Sequence[str], dataset: Dataset, batch: int = 64, limit: int | None = None, threads: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """The named tensors for the samples of a data set in order: {name: [n, ...]} with n <= batch.

    Args:
        model: Stays as it is; the tensors become outputs of a copy.
        names: Tensors of the graph; inputs, outputs and initializers may be among them.
        batch: Samples in one run.
        limit: Samples in all; None for every sample.

    Raises:
        UsageError: The model has no such tensor.
    """
    session, fed, constant = _exposing(model, names, threads)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    for start in range(0, count, batch):
        feeds = dataset.batch(np.arange(start, min(start + batch, count)))
        values = session.predict(feeds) if session is not None else {}
        values |= constant | {name: feeds[name] for name in fed}
        yield {name: values[name] for name in names}


def _exposing(model: Model, names: Sequence[str], threads: int):
    """A session whose outputs are the computed ones among these tensors; the fed ones; the constant ones' values."""
    copy = model.clone()
    tensors = copy.graph.tensors()
    for name in names:
        if name not in tensors:
            raise UsageError(f"tensor {name}: the model {model.name} has none of this name")
    fed = [name for name in names if name in {t.name for t in copy.graph.inputs}]
    constants = {name: array.values for name, array in model.initializers().items() if name in names}
    computed = [tensors[name] for name in dict.fromkeys(names) if name not in fed and name not in constants]
    expose(copy.graph, computed)
    return (Session(copy, threads) if computed else None), fed, constants


def expose(graph: gs.Graph, tensors: Sequence[gs.Tensor]) -> None:
    """These tensors are the outputs from now on; ONNX Runtime infers what they are where the graph does not say."""
    for tensor in tensors:
        if tensor.dtype is None:
            tensor.shape = None  # ONNX Runtime infers types where nothing at all is said; sizes alone it refuses.
    graph.outputs = list(tensors)
