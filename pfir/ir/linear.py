"""Convolutions and products with a matrix as what they have in common: y = W x + b, and how W lies in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import is_op, operand, producer
from pfir.ir.model import Model
from pfir.ir.operators.records import Form, Operator
from pfir.ir.operators.table import OPERATORS, operator_of
from pfir.ir.windows import Windows, windows_of

PLAIN = tuple(o.name for o in OPERATORS if o.is_linear and "" in o.domains and not o.integers)
"""ONNX's own linear operators on floats: what passes edit."""


@dataclass(frozen=True)
class Layout:
    """How a weight lies in memory: [G * O, I, *k], or [G * I, O, *k] where input channels come first.

    Args:
        groups: G, how many groups of channels have weights of their own.
        inputs_first: Whether the first axis holds the input channels.
    """

    groups: int = 1
    inputs_first: bool = False

    def blocks(self, weight: np.ndarray) -> np.ndarray:
        """The weight as [G, O, I, taps]: one matrix for each group and each position of the kernel."""
        rows, columns, *kernel = weight.shape
        split = weight.reshape(self.groups, rows // self.groups, columns, math.prod(kernel))
        return split.swapaxes(1, 2) if self.inputs_first else split

    def weight(self, blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The inverse of `blocks`, for a weight of this shape."""
        return np.ascontiguousarray(blocks.swapaxes(1, 2) if self.inputs_first else blocks).reshape(shape)

    def outputs(self, shape: tuple[int, ...]) -> int:
        """The number of output channels of a weight of this shape."""
        return shape[1] * self.groups if self.inputs_first else shape[0]

    def inputs(self, shape: tuple[int, ...]) -> int:
        """The number of input channels of a weight of this shape."""
        return shape[0] if self.inputs_first else shape[1] * self.groups

    @staticmethod
    def across_groups(blocks: np.ndarray) -> np.ndarray:
        """[G, O, I, ...] -> [G * O, G * I, ...], zero between groups."""
        groups, outputs, inputs, *rest = blocks.shape
        if groups == 1:
            return blocks[0]
        whole = np.zeros((groups, outputs, groups, inputs, *rest), blocks.dtype)
        for group, block in enumerate(blocks):
            whole[group, :, group] = block
        return whole.reshape(groups * outputs, groups * inputs, *rest)


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A node y = a (W x) + c b; a and c are 1 unless attributes say otherwise.

    Args:
        node: What computes it.
        operator: The record of its operator.
        place: The input that holds W.
        data_place: The input that holds x.
        layout: How W lies in memory.
        data_axis: Axis of x that holds the input channels, from the end where the operator works on the last axes.
        result_axis: Axis of y that holds the output channels, likewise.
    """

    node: gs.Node
    operator: Operator
    place: int
    data_place: int
    layout: Layout
    data_axis: int
    result_axis: int

    @property
    def weight(self) -> gs.Tensor:
        """The tensor W, which may be computed."""
        return self.node.inputs[self.place]

    @property
    def data(self) -> gs.Tensor:
        """The tensor x, which is multiplied with W."""
        return self.node.inputs[self.data_place]

    @property
    def bias(self) -> gs.Tensor | None:
        """The tensor b; None without one."""
        return None if self.operator.bias is None else operand(self.node, self.operator.bias)

    @property
    def is_convolution(self) -> bool:
        """Whether it sums over windows, transposed or not."""
        return self.operator.form in (Form.CONVOLUTION, Form.TRANSPOSED_CONVOLUTION)

    @property
    def is_transposed(self) -> bool:
        """Whether each input makes a window of outputs."""
        return self.operator.form is Form.TRANSPOSED_CONVOLUTION

    @property
    def is_laid_out(self) -> bool:
        """Whether `layout` tells how W lies: not of a stack of matrices or a vector, where its shape is known."""
        shape = self.weight.shape
        return self.is_convolution or shape is None or len(shape) == 2

    @property
    def is_integer(self) -> bool:
        """Whether W is one of integers that the node itself takes for other numbers."""
        return self.place in self.operator.integers

    @property
    def turns_data(self) -> bool:
        """Whether axes of x are swapped, or those of a batch, before it is multiplied."""
        return any(self.node.attrs.get(name, 0) for name in ("transA", "transBatchA", "transBatchB"))

    @property
    def factor(self) -> float:
        """What the product is multiplied by: a."""
        return self._attribute(self.operator.scaled_by)

    @property
    def bias_factor(self) -> float:
        """What the bias is multiplied by: c."""
        return self._attribute(self.operator.bias_scaled_by)

    @property
    def output_axis(self) -> int:
        """Axis of W that holds the output channels, of one group where input channels come first."""
        return int(self.layout.inputs_first)

    @property
    def input_axis(self) -> int:
        """Axis of W that holds the input channels, of one group where output channels come first."""
        return 1 - self.output_axis

    @property
    def adds_zeros(self) -> bool:
        """Whether some sums lack inputs: beside the border of a convolution, and everywhere of a transposed one."""
        attrs = self.node.attrs
        padded = any(attrs.get("pads", ())) or attrs.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
        return self.is_transposed or (self.is_convolution and padded)

    @property
    def weight_scale(self) -> gs.Tensor | None:
        """The scale of the integers that W is given as; None where W is one of floats, or counts in steps."""
        return self._said_of_integers(scale=True)

    @property
    def weight_zero_point(self) -> gs.Tensor | None:
        """The integer that stands for zero in W; None where W is one of floats, or where it is 0."""
        return self._said_of_integers(scale=False)

    def windows(self, kernel: tuple[int, ...]) -> Windows:
        """The windows of a convolution with this kernel; a product looks at single positions."""
        return windows_of(self.node, kernel)

    def _attribute(self, name: str) -> float:
        return float(self.node.attrs.get(name, 1.0)) if name else 1.0

    def _said_of_integers(self, scale: bool) -> gs.Tensor | None:
        """What the node itself, or the DequantizeLinear that makes W, is told of its integers: scale or zero point."""
        node, operator, place = self.node, self.operator, self.place
        if not self.is_integer:
            node, place = producer(self.weight), 0
            if node is None or not is_op(node, "DequantizeLinear"):
                return None
            operator = operator_of(node)
        found = operator.integers[place]
        at = found.scale if scale else found.zero_point
        return None if at is None else operand(node, at)


def linear_layer(node: gs.Node) -> LinearLayer | None:
    """The node as a linear layer; None of other nodes.

    Of a product the first factor is the weight where it alone is constant, else the second one, constant or not; either
    may be a stack of matrices.
    """
    operator = operator_of(node)
    if operator is None or not operator.is_linear or len(node.inputs) <= max(operator.data, operator.weight.place):
        return None
    if operator.form in (Form.CONVOLUTION, Form.TRANSPOSED_CONVOLUTION):
        return _convolution(node, operator)
    if operator.form is Form.MATMUL and _is_weight_first(node, operator):
        return LinearLayer(node, operator, operator.data, operator.weight.place, Layout(), -2, -2)
    return _product(node, operator)


def plain_layer(node: gs.Node) -> LinearLayer | None:
    """The node as a linear layer, if it is one of ONNX's own on floats."""
    return linear_layer(node) if is_op(node, *PLAIN) else None


def linear_layers(model: Model) -> Iterator[LinearLayer]:
    """The layers of a model whose weights depend on no input and are laid out, in the order of its nodes.

    Layers in bodies are left out.
    """
    found = (linear_layer(node) for node in model.nodes())
    return (x for x in found if x is not None and x.is_laid_out and _is_made_of_constants(x.weight))


def _convolution(node: gs.Node, operator: Operator) -> LinearLayer:
    layout = Layout(int(node.attrs.get("group", 1)), inputs_first=operator.weight.inputs == 0)
    axis = -1 if node.attrs.get("channels_last", 0) else 1
    return LinearLayer(node, operator, operator.weight.place, operator.data, layout, axis, axis)


def _product(node: gs.Node, operator: Operator) -> LinearLayer:
    turned = bool(operator.weight.turned_by and node.attrs.get(operator.weight.turned_by, 0))
    data_axis = -2 if node.attrs.get("transA", 0) else -1
    return LinearLayer(
        node, operator, operator.weight.place, operator.data, Layout(inputs_first=not turned), data_axis, -1
    )


def _is_made_of_constants(tensor: gs.Tensor) -> bool:
    node = producer(tensor)
    if node is None:
        return isinstance(tensor, gs.Constant)
    given = [t for t in node.inputs if not t.is_empty()]
    return node.op == "Constant" or (bool(given) and all(map(_is_made_of_constants, given)))


def _is_weight_first(node: gs.Node, operator: Operator) -> bool:
    """Whether the first factor alone is constant."""
    return isinstance(node.inputs[operator.data], gs.Constant) and not isinstance(
        node.inputs[operator.weight.place], gs.Constant
    )
