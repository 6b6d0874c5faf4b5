"""Convolutions and dense layers as what they have in common: weights and a bias with input and output channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, array, is_op, operand, opset


@dataclass(frozen=True)
class Linear:
    """A node y = W x + b with constant float weights.

    Args:
        graph: Where it lives.
        names: Its names.
        holding: Tensors that others need (`held`).
        node: Conv, ConvTranspose, Gemm or MatMul.
        channels: Of the output, C.
        rank: Of the output.
        axis: Of the output on which the channels lie.
    """

    graph: gs.Graph
    names: Names
    holding: set[str]
    node: gs.Node
    channels: int
    rank: int
    axis: int

    @property
    def axis_is_one(self) -> bool:
        """Whether the channels lie where BatchNormalization expects them."""
        return self.axis == 1

    @property
    def weight(self) -> np.ndarray:
        return self.node.inputs[1].values

    def bias(self) -> np.ndarray:
        """float64 [C], what is added to each output channel; zeros where the node has no bias."""
        value = array(operand(self.node, 2))
        if value is None:
            return np.zeros(self.channels)
        factor = float(self.node.attrs.get("beta", 1.0)) if self.node.op == "Gemm" else 1.0
        return np.broadcast_to(factor * value.astype(np.float64).ravel(), (self.channels,)).copy()

    def output_norms(self) -> np.ndarray:
        """float64 [C], the L2 norm of the weights behind each output channel."""
        squares = np.square(self.weight.astype(np.float64))
        if self.node.op == "ConvTranspose":
            # [C_in, C/group, *k]: the outputs of a group are made from that group's inputs alone.
            groups = int(self.node.attrs.get("group", 1))
            parts = squares.reshape(groups, len(squares) // groups, squares.shape[1], -1)
            return np.sqrt(parts.sum(axis=(1, 3))).ravel()
        return np.sqrt(squares.sum(axis=tuple(i for i in range(squares.ndim) if i != self._output_axis())))

    def scale_outputs(self, scale: np.ndarray, shift: np.ndarray) -> bool:
        """y becomes scale * y + shift, both float64 [C] or [1]; False, and nothing done, if it cannot."""
        weight = self.weight.astype(np.float64) * self._on_output(np.broadcast_to(scale, (self.channels,)))
        return self._set(weight, self.bias() * scale + shift)

    def scale_inputs(self, scale: np.ndarray, shift: np.ndarray) -> bool:
        """y = W x + b becomes W (scale * x + shift) + b, both float64 [inputs]; False if padding makes that inexact."""
        if self.node.op == "ConvTranspose" or (shift.any() and _pads(self.node)):
            return False
        moved = self._per_input(shift)
        scaled = self._per_input(scale)
        if moved is None or scaled is None:
            return False
        weight = self.weight.astype(np.float64)
        added = (weight * moved).sum(axis=tuple(i for i in range(weight.ndim) if i != self._output_axis()))
        if self.node.op == "Gemm":
            added = added * float(self.node.attrs.get("alpha", 1.0))
        return self._set(weight * scaled, self.bias() + added)

    def set_bias(self, bias: np.ndarray | None) -> None:
        """Replace the bias [C]; None removes it."""
        node = self.node
        while len(node.inputs) > 2:
            node.inputs.pop()
        if node.op == "Gemm":
            node.attrs["beta"] = 1.0
            # Before opset 11 a Gemm must have one.
            bias = np.zeros(self.channels) if bias is None and opset(self.graph) < 11 else bias
        if bias is not None:
            name = self.names.fresh(f"{node.name or node.outputs[0].name}.bias")
            node.inputs.append(gs.Constant(name, bias.astype(self.weight.dtype)))

    def _output_axis(self) -> int:
        if self.node.op == "Conv":
            return 0
        return 0 if self.node.op == "Gemm" and self.node.attrs.get("transB", 0) else 1

    def _on_output(self, values: np.ndarray) -> np.ndarray:
        """One value per output channel, shaped to multiply the weights."""
        shape = [1] * self.weight.ndim
        if self.node.op == "ConvTranspose":
            # [C_in, C/group, *k]: the group of an output channel is that of the input channel.
            groups = int(self.node.attrs.get("group", 1))
            per_group = np.repeat(values.reshape(groups, -1), self.weight.shape[0] // groups, axis=0)
            return per_group.reshape(*per_group.shape, *shape[2:])
        shape[self._output_axis()] = self.channels
        return values.reshape(shape)

    def _per_input(self, values: np.ndarray) -> np.ndarray | None:
        """One value per input channel, shaped to multiply the weights."""
        weight, node = self.weight, self.node
        if node.op != "Conv":
            axis = 1 - self._output_axis()
            shape = [1, 1]
            shape[axis] = -1
            fits = values.size in (1, weight.shape[axis]) and not node.attrs.get("transA", 0) and self.rank == 2
            return values.reshape(shape) if fits else None
        groups = int(node.attrs.get("group", 1))
        if values.size == 1:
            values = np.repeat(values, groups * weight.shape[1])
        if values.size != groups * weight.shape[1]:
            return None
        rows = np.repeat(values.reshape(groups, -1), weight.shape[0] // groups, axis=0)
        return rows.reshape(*rows.shape, *[1] * (weight.ndim - 2))

    def _set(self, weight: np.ndarray, bias: np.ndarray) -> bool:
        node, dtype = self.node, self.weight.dtype
        with np.errstate(over="ignore"):
            weight, bias = weight.astype(dtype), bias.astype(dtype)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            return False
        had_bias = operand(node, 2) is not None
        if node.op == "MatMul" and bias.any() and not self._becomes_gemm():
            return False
        self._set_weight(weight)
        if had_bias or bias.any():
            self._set_bias_values(bias)
        return True

    def _becomes_gemm(self) -> bool:
        """A product of matrices can hold a bias as Gemm; one of stacks cannot."""
        if self.rank != 2 or self.weight.ndim != 2:
            return False
        self.node.op = "Gemm"
        return True

    def _set_weight(self, weight: np.ndarray) -> None:
        tensor = self.node.inputs[1]
        if self._is_shared(tensor):
            self.node.inputs[1] = gs.Constant(self.names.fresh(f"{tensor.name}_folded"), weight)
        else:
            tensor.values = weight

    def _set_bias_values(self, bias: np.ndarray) -> None:
        tensor = operand(self.node, 2)
        if tensor is None or self._is_shared(tensor):
            self.set_bias(bias)
            return
        tensor.values = bias
        if self.node.op == "Gemm":
            self.node.attrs["beta"] = 1.0

    def _is_shared(self, tensor: gs.Tensor) -> bool:
        return len(tensor.outputs) > 1 or tensor.name in self.holding


def linear_layer(graph: gs.Graph, node: gs.Node, names: Names, holding: set[str]) -> Linear | None:
    """The node as a linear layer, if it is one with constant float weights and bias."""
    if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) < 2:
        return None
    weight, bias = array(node.inputs[1]), array(operand(node, 2))
    if weight is None or weight.dtype not in (np.float16, np.float32, np.float64):
        return None
    if operand(node, 2) is not None and bias is None:
        return None
    place = _channel_axis(node, weight)
    if place is None or (bias is not None and not _is_per_channel(bias, place[0])):
        return None
    return Linear(graph, names, holding, node, *place)


def _channel_axis(node: gs.Node, weight: np.ndarray) -> tuple[int, int, int] | None:
    """Output channels, rank of the output, and the axis of the channels in it."""
    if node.op == "Conv":
        return weight.shape[0], weight.ndim, 1
    if node.op == "ConvTranspose":
        return weight.shape[1] * int(node.attrs.get("group", 1)), weight.ndim, 1
    if node.op == "Gemm":
        return weight.shape[0 if node.attrs.get("transB", 0) else 1], 2, 1
    left = node.inputs[0]
    if weight.ndim != 2 or left.shape is None or len(left.shape) < 2:
        return None
    return weight.shape[1], len(left.shape), len(left.shape) - 1


def _is_per_channel(bias: np.ndarray, channels: int) -> bool:
    """A Gemm's bias may also vary over rows; such a one is left alone."""
    return bias.size == 1 or (bias.size == channels and bias.shape[-1] == channels)


def _pads(node: gs.Node) -> bool:
    if node.op != "Conv":
        return False
    return any(node.attrs.get("pads", [])) or node.attrs.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
