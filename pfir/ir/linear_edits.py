"""Linear layers with constant float weights, whose outputs and inputs can be scaled and shifted in place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, array, opset
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.operators.records import Form


@dataclass(frozen=True)
class EditableLayer:
    """A layer y = W x + b of a graph that is being edited.

    Args:
        graph: Where it lives.
        names: Its names.
        holding: Tensors that others need (`held`).
        node: What computes it.
        rank: Of the output.
    """

    graph: gs.Graph
    names: Names
    holding: set[str]
    node: gs.Node
    rank: int

    @property
    def layer(self) -> LinearLayer:
        """What the node computes now: a MatMul that was given a bias has become a Gemm."""
        return plain_layer(self.node)

    @property
    def channels(self) -> int:
        """The number of output channels, C."""
        return self.layer.layout.outputs(self.weight.shape)

    @property
    def axis(self) -> int:
        """The axis of the output that holds them, from the front."""
        return self.layer.result_axis % self.rank

    @property
    def axis_is_one(self) -> bool:
        """Whether the channels lie where BatchNormalization expects them."""
        return self.axis == 1

    @property
    def weight(self) -> np.ndarray:
        return self.layer.weight.values

    def bias(self) -> np.ndarray:
        """float64 [C], what is added to each output channel; zeros where the node has no bias."""
        value = array(self.layer.bias)
        if value is None:
            return np.zeros(self.channels)
        return np.broadcast_to(self.layer.bias_factor * value.astype(np.float64).ravel(), (self.channels,)).copy()

    def output_norms(self) -> np.ndarray:
        """float64 [C], the L2 norm of the weights behind each output channel."""
        return np.sqrt(np.square(self._blocks()).sum(axis=(2, 3))).ravel()

    def scale_outputs(self, scale: np.ndarray, shift: np.ndarray) -> bool:
        """Make y scale * y + shift, both float64 [C] or [1]; False, and nothing done, if the layer cannot hold that."""
        by_output = np.broadcast_to(scale, (self.channels,)).reshape(self.layer.layout.groups, -1, 1, 1)
        return self._set(self._blocks() * by_output, self.bias() * scale + shift)

    def scale_inputs(self, scale: np.ndarray, shift: np.ndarray) -> bool:
        """Make y = W x + b give W (scale * x + shift) + b, both float64 [inputs]; False if padding forbids that."""
        if self.layer.is_transposed or (shift.any() and self.layer.adds_zeros):
            return False
        moved, scaled = self._by_input(shift), self._by_input(scale)
        if moved is None or scaled is None:
            return False
        blocks = self._blocks()
        added = (blocks * moved).sum(axis=(2, 3)).ravel() * self.layer.factor
        return self._set(blocks * scaled, self.bias() + added)

    def set_bias(self, bias: np.ndarray | None) -> None:
        """Replace the bias [C]; None removes it."""
        node = self.node
        while len(node.inputs) > 2:
            node.inputs.pop()
        if self.layer.operator.form is Form.GEMM:
            node.attrs["beta"] = 1.0
            # Before opset 11 a Gemm must have one.
            bias = np.zeros(self.channels) if bias is None and opset(self.graph) < 11 else bias
        if bias is not None:
            name = self.names.fresh(f"{node.name or node.outputs[0].name}.bias")
            node.inputs.append(gs.Constant(name, bias.astype(self.weight.dtype)))

    def _blocks(self) -> np.ndarray:
        """The weight as float64 [G, O, I, taps]."""
        return self.layer.layout.blocks(self.weight.astype(np.float64))

    def _by_input(self, values: np.ndarray) -> np.ndarray | None:
        """One value for each input channel, or for all of them, as [G, 1, I, 1]; None where they are not as many."""
        layout, product = self.layer.layout, not self.layer.is_convolution
        inputs = layout.inputs(self.weight.shape)
        if values.size not in (1, inputs) or (product and (self.layer.turns_data or self.rank != 2)):
            return None
        return np.broadcast_to(values, (inputs,)).reshape(layout.groups, 1, -1, 1)

    def _set(self, blocks: np.ndarray, bias: np.ndarray) -> bool:
        dtype, shape = self.weight.dtype, self.weight.shape
        with np.errstate(over="ignore"):
            weight, bias = self.layer.layout.weight(blocks, shape).astype(dtype), bias.astype(dtype)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            return False
        had_bias = self.layer.bias is not None
        if bias.any() and not self._make_place_for_bias():
            return False
        self._set_weight(weight)
        if had_bias or bias.any():
            self._set_bias_values(bias)
        return True

    def _make_place_for_bias(self) -> bool:
        """Turn a product of matrices into a Gemm, which has a place for a bias; False for one of stacks."""
        if self.layer.operator.bias is not None:
            return True
        if self.rank != 2 or self.weight.ndim != 2:
            return False
        self.node.op = "Gemm"
        return True

    def _set_weight(self, weight: np.ndarray) -> None:
        """Replace the weight; zeros that were scaled by negative numbers are 0.0, which packed files leave out."""
        tensor, weight = self.layer.weight, weight + weight.dtype.type(0)
        if self._is_shared(tensor):
            self.node.inputs[self.layer.place] = gs.Constant(self.names.fresh(f"{tensor.name}_folded"), weight)
        else:
            tensor.values = weight

    def _set_bias_values(self, bias: np.ndarray) -> None:
        tensor = self.layer.bias
        if tensor is None or self._is_shared(tensor):
            self.set_bias(bias)
            return
        tensor.values = bias
        if self.layer.operator.form is Form.GEMM:
            self.node.attrs["beta"] = 1.0

    def _is_shared(self, tensor: gs.Tensor) -> bool:
        return len(tensor.outputs) > 1 or tensor.name in self.holding


def editable_layer(graph: gs.Graph, node: gs.Node, names: Names, holding: set[str]) -> EditableLayer | None:
    """The node as a linear layer, if it is one of ONNX's own with constant float weights and bias."""
    layer = plain_layer(node)
    weight = None if layer is None else array(layer.weight)
    if weight is None or weight.dtype not in (np.float16, np.float32, np.float64):
        return None
    rank = _output_rank(layer, weight)
    if layer.place != layer.operator.weight.place or rank is None:
        return None
    bias = array(layer.bias)
    if layer.bias is not None and (bias is None or not _is_per_channel(bias, layer.layout.outputs(weight.shape))):
        return None
    return EditableLayer(graph, names, holding, node, rank)


def _output_rank(layer: LinearLayer, weight: np.ndarray) -> int | None:
    """The rank of what the layer gives; None where it is not known, or where it multiplies stacks or vectors."""
    if layer.operator.form is not Form.MATMUL:
        return weight.ndim
    shape = layer.data.shape
    return None if weight.ndim != 2 or shape is None or len(shape) < 2 else len(shape)


def _is_per_channel(bias: np.ndarray, channels: int) -> bool:
    """Whether a bias is one number for each output channel; a Gemm's may also vary over rows."""
    return bias.size == 1 or (bias.size == channels and bias.shape[-1] == channels)
