"""What is known of constant channels so far: the record that the rules of operators read and extend."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.trace import Trace
from pfir.ir.coupling.zero_points import point_input, read_with, zero_stays_zero

Site = tuple[str, int]
Values = np.ndarray
"""[width] float64: the constant of each position, NaN where it depends on an input."""


class KnownConstants(ABC):
    """The constants along every labelled axis of a traced graph.

    Integers that stand for numbers are told as the integers that they are.

    Args:
        trace: The labels of the graph, whose nodes are to be visited in order.
        root: The channel that each label belongs to.
    """

    def __init__(self, trace: Trace, root: np.ndarray):
        self.trace, self._root = trace, root
        self._found: dict[Site, Values] = {}

    def at(self, site: Site) -> Values | None:
        """The constants along an axis; None if nothing is known of it."""
        return self._found.get(site)

    def read(self, node: gs.Node, site: Site) -> Values | None:
        """What a node takes the positions along an axis of its input for: of integers, how far they are from zero."""
        place = next((i for i, t in enumerate(node.inputs) if t.name == site[0]), 0)
        if point_input(node, place) is None:
            return self.at(site)
        maker = node.inputs[place].inputs[0] if node.inputs[place].inputs else None
        if maker is not None and maker.op == "DynamicQuantizeLinear":
            values = self.at((maker.inputs[0].name, site[1])) if zero_stays_zero(node, place) else None
            return None if values is None else only_zero(values)
        values, zero = self.at(site), read_with(node, place)
        return None if values is None or not isinstance(zero, int) else values - zero

    def note(self, site: Site, values: Values | None) -> None:
        """Let these be the constants along an axis, whatever was said of it before."""
        self._found.pop(site, None)
        labels = self.trace.labels(*site)
        if values is not None and labels is not None and values.shape == labels.shape:
            self._found[site] = values

    def along(self, tensor: gs.Tensor, axis: int) -> Values | None:
        """What a tensor is along an axis, if nothing else decides; a weight counts where all of a row is the same."""
        if not isinstance(tensor, gs.Constant):
            return self._found.get((tensor.name, axis))
        values = np.asarray(tensor.values)
        if values.dtype.kind != "f" or not values.size:
            return None
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        return np.where((rows == rows[:, :1]).all(1), rows[:, 0], np.nan).astype(np.float64)

    def operand(self, tensor: gs.Tensor, rank: int, axis: int) -> Values | None:
        """What an operand is along an output axis; None where it varies along others."""
        dims = self.trace.shapes.get(tensor.name)
        if dims is None:
            return None
        own = axis - (rank - len(dims))
        if isinstance(tensor, gs.Constant):
            array = np.asarray(tensor.values, dtype=np.float64)
            spread = [d for a, d in enumerate(array.shape) if a != own and d != 1]
            return None if spread or not array.size else array.reshape(-1)
        return self._found.get((tensor.name, own))

    @abstractmethod
    def visit(self, node: gs.Node) -> None:
        """Find what the outputs of a node are, once its inputs are known."""


def only_zero(values: Values) -> Values:
    return np.where(values == 0, 0.0, np.nan)
