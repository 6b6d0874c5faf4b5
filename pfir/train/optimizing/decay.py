"""Which parameters decay: weights do, biases, norms and slopes do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.model import Model
from pfir.ir.operators.table import operator_of
from pfir.train.flat import FlatBuffer


def decay_of(model: Model, parameters: FlatBuffer, decay: float) -> np.ndarray:
    """The weight decay of each position, float32 [size].

    What has one axis never decays, and neither does what has several and is a bias, as of a recurrent layer, or a
    factor of a norm or of a PRelu.

    Args:
        model: Reads the parameters, by name.
    """
    free = {tensor.name for node in model.nodes() for tensor in _addends_and_factors(node)}
    chosen = {name: view.ndim >= 2 and name not in free for name, view in parameters.views.items()}
    return parameters.mask(chosen) * np.float32(decay)


def _addends_and_factors(node: gs.Node) -> Iterator[gs.Tensor]:
    """The inputs of a node that hold a bias, factors or slopes."""
    if node.op == "Add":
        yield from node.inputs
    operator = operator_of(node)
    places = () if operator is None else (*operator.factors, *(() if operator.bias is None else (operator.bias,)))
    yield from (node.inputs[place] for place in places if place < len(node.inputs))
