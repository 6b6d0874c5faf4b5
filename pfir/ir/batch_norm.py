"""A BatchNormalization as what it does to each channel, and why it may be more than that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, operand
from pfir.ir.operators.table import operator_of


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """A node y = scale * (x - mean) / sqrt(variance + epsilon) + shift, with one number of each for a channel.

    Args:
        node: What computes it.
        scale, shift, mean, variance: Tensors [C]; None where one is left out.
    """

    node: gs.Node
    scale: gs.Tensor | None
    shift: gs.Tensor | None
    mean: gs.Tensor | None
    variance: gs.Tensor | None

    @property
    def epsilon(self) -> float:
        """What is added to the variance."""
        return self.node.attrs.get("epsilon", 1e-5)

    @property
    def trains(self) -> bool:
        """Whether it takes the statistics of each batch rather than those that it holds."""
        return bool(self.node.attrs.get("training_mode", 0))

    @property
    def refusal(self) -> str:
        """Why it is no fixed map of each channel; "" where it is one."""
        if self.trains:
            return "it is in training mode"
        if not self.node.attrs.get("spatial", 1):
            return "it has one scale per position (spatial=0)"
        return "its running statistics are outputs" if any(t.outputs for t in self.node.outputs[1:]) else ""

    @property
    def statistics(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The arrays of mean and variance; None for one that is computed."""
        return array(self.mean), array(self.variance)

    @property
    def arrays(self) -> tuple[np.ndarray, ...] | None:
        """Scale, shift, mean and variance; None where one is computed."""
        found = (array(self.scale), array(self.shift), *self.statistics)
        return None if any(values is None for values in found) else found


def batch_norm(node: gs.Node) -> BatchNorm | None:
    """The node as a BatchNormalization, if it is one."""
    if not is_op(node, "BatchNormalization"):
        return None
    operator = operator_of(node)
    return BatchNorm(node, *(operand(node, i) for i in (*operator.factors, *operator.statistics)))
