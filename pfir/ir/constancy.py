"""Channels whose value no input can change: what each position of each channel axis is then, all over its extent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.rules.trace import Trace

Site = tuple[str, int]
Values = np.ndarray
"""[width] float64: the constant of each position, NaN where it depends on an input."""


class Constancy:
    """The constants along every labelled axis of a traced graph."""

    def __init__(self, trace: Trace, root: np.ndarray):
        self._trace, self._root = trace, root
        self._found: dict[Site, Values] = {}

    def at(self, site: Site) -> Values | None:
        """The constants along an axis; None if nothing is known of it."""
        return self._found.get(site)

    def visit(self, node: gs.Node) -> None:
        """Find what the outputs of a node are, once its inputs are known."""
        for name in [t.name for t in node.outputs]:
            for axis, labels in enumerate(self._trace.axes.get(name, ())):
                if labels is not None:
                    found = self._rule(node, name, axis, labels)
                    if found is not None and found.shape == labels.shape:
                        self._found[(name, axis)] = found

    def _rule(self, node: gs.Node, name: str, axis: int, labels: np.ndarray) -> Values | None:
        if node.domain not in (None, "", "ai.onnx"):
            return None
        with np.errstate(all="ignore"):
            if node.op in _MOVES:
                return self._moved(node, name, labels)
            if node.op in _UNARY or node.op in _N_ARY:
                return self._elementwise(node, name, axis)
            rule = _OTHERS.get(node.op)
            return rule(self, node, axis) if rule else None

    def _moved(self, node: gs.Node, name: str, labels: np.ndarray) -> Values:
        """Positions keep their values wherever they go: told by their channel, where all of it agrees."""
        low, high = np.full(self._root.size, np.inf), np.full(self._root.size, -np.inf)
        for tensor in node.inputs:
            for axis, taken in enumerate(self._trace.axes.get(tensor.name, ())):
                if taken is None:
                    continue
                roots = self._root[taken]
                values = self._found.get((tensor.name, axis), np.full(taken.size, np.nan))
                np.minimum.at(low, roots, values)
                np.maximum.at(high, roots, values)
        roots = self._root[labels]
        agreed = np.where(low[roots] == high[roots], low[roots], np.nan)
        return np.where(agreed == 0, 0.0, np.nan) if _dilutes(node) else agreed

    def _elementwise(self, node: gs.Node, name: str, axis: int) -> Values | None:
        rank = len(self._trace.axes[name])
        parts = [self._operand(t, rank, axis) for t in node.inputs if t.name]
        if any(p is None for p in parts) and node.op not in ("Mul", "Div"):
            return None
        width = self._trace.axes[name][axis].size
        parts = [np.full(width, np.nan) if p is None else np.broadcast_to(p, width) for p in parts]
        result = (_UNARY[node.op](node, *parts) if node.op in _UNARY else _N_ARY[node.op](parts)).astype(np.float64)
        unknown = np.isnan(np.stack(parts)).any(0)
        result = np.where(unknown, np.nan, result)
        zero = parts[0] == 0 if node.op == "Div" else (np.stack(parts) == 0).any(0)
        return np.where(zero, 0.0, result) if node.op in ("Mul", "Div") else result

    def _operand(self, tensor: gs.Tensor, rank: int, axis: int) -> Values | None:
        """What an operand is along an output axis; None where it varies along others."""
        dims = self._trace.shapes.get(tensor.name)
        if dims is None:
            return None
        own = axis - (rank - len(dims))
        if isinstance(tensor, gs.Constant):
            array = np.asarray(tensor.values, dtype=np.float64)
            spread = [d for a, d in enumerate(array.shape) if a != own and d != 1]
            return None if spread else array.reshape(-1)
        return self._found.get((tensor.name, own))

    def _batch_norm(self, node: gs.Node, axis: int) -> Values | None:
        values = self._found.get((node.inputs[0].name, 1))
        arrays = [_array(t) for t in node.inputs[1:5]]
        if axis != 1 or any(a is None for a in arrays):
            return None
        scale, shift, mean, variance = arrays
        values = np.full(scale.size, np.nan) if values is None else values
        result = (values - mean) / np.sqrt(variance + node.attrs.get("epsilon", 1e-5)) * scale + shift
        return np.where(scale == 0, shift, result)

    def _pad(self, node: gs.Node, axis: int) -> Values | None:
        values = self._found.get((node.inputs[0].name, axis))
        pads = self._trace.values.get(node.inputs[1].name) if len(node.inputs) > 1 else node.attrs.get("pads")
        fill = _array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else np.zeros(1)
        rank = len(self._trace.axes[node.outputs[0].name])
        if pads is None or fill is None or len(node.inputs) > 3 or node.attrs.get("mode", "constant") != "constant":
            return None
        pads = [int(p) for p in np.asarray(pads).ravel()]
        if values is None:
            labels = self._trace.labels(node.inputs[0].name, axis)
            values = np.full(0 if labels is None else labels.size, np.nan)
        filled = float(fill.ravel()[0])
        if any(p for i, p in enumerate(pads) if i % rank != axis):
            values = np.where(values == filled, values, np.nan)
        before, after = np.full(pads[axis], filled), np.full(pads[axis + rank], filled)
        return np.concatenate([before, values, after])

    def _contraction(self, node: gs.Node, axis: int) -> Values | None:
        found = contraction(node)
        if found is None:
            return self._product(node, axis) if node.op == "MatMul" else None
        if axis != found.out_axis:
            return None
        site = (node.inputs[0].name, found.in_axis)
        values = self._found.get(site)
        values = np.full(found.sums.shape[1], np.nan) if values is None else values
        blocked = np.isnan(values) | (values != 0 if not found.uniform else False)
        reached = (found.touches & blocked).any(1)
        total = np.where(blocked, 0.0, values) @ found.sums.T + found.bias
        return np.where(reached, np.nan, total)


    def _product(self, node: gs.Node, axis: int) -> Values | None:
        """A product of activations is zero where a row of the one or a column of the other is, or a whole batch."""
        shapes = [self._trace.shapes.get(t.name) for t in node.inputs]
        if None in shapes or min(map(len, shapes)) < 2:
            return None
        labels = self._trace.labels(node.outputs[0].name, axis)
        from_end, zero = axis - max(map(len, shapes)), np.zeros(labels.size, bool)
        for tensor, dims, summed in zip(node.inputs, shapes, (-1, -2), strict=True):
            values = self._found.get((tensor.name, from_end + len(dims)))
            if from_end != summed and values is not None and values.shape == labels.shape:
                zero |= values == 0
        return np.where(zero, 0.0, np.nan)


class Contraction:
    """A convolution or dense layer as a matrix over channels.

    Args:
        sums: [O, C] sum of the weights between two channels.
        touches: [O, C] whether any of them is not zero.
        bias: [O], or zero.
        uniform: Whether a constant input channel gives a constant everywhere (no zeros are padded in).
    """

    def __init__(self, sums, touches, bias, uniform: bool, in_axis: int, out_axis: int):
        self.sums, self.touches, self.bias = sums, touches, bias
        self.uniform, self.in_axis, self.out_axis = uniform, in_axis, out_axis


def contraction(node: gs.Node) -> Contraction | None:
    """A node as a matrix over channels; None where it is none, or its numbers are computed."""
    weight = _array(node.inputs[1]) if len(node.inputs) > 1 else None
    bias = _array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else np.zeros(1)
    if weight is None or bias is None or node.domain not in (None, "", "ai.onnx"):
        return None
    if node.op == "Conv":
        return _conv(node, weight, bias)
    if node.op == "ConvTranspose":
        return _conv_transpose(node, weight, bias)
    if node.op == "Gemm" and weight.ndim == 2:
        return _gemm(node, weight, bias)
    if node.op == "MatMul" and weight.ndim == 2:
        return _matmul(node, weight)
    return None


def _conv(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Contraction:
    sums, touches = _summed(weight, node.attrs.get("group", 1))
    padded = any(node.attrs.get("pads", ())) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return Contraction(sums, touches, bias.astype(np.float64), not padded, 1, 1)


def _conv_transpose(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Contraction:
    """Where windows overlap more counts than elsewhere, so no constant but zero stays one."""
    sums, touches = _summed(weight, node.attrs.get("group", 1))
    return Contraction(sums.T, touches.T, bias.astype(np.float64), False, 1, 1)


def _summed(weight: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """[R, P, *k] of `group` groups -> the sum over k and whether any tap is not zero, both [R, P * group]."""
    rows, per = weight.shape[:2]
    taps = weight.reshape(rows, per, -1).astype(np.float64)
    sums, touches = np.zeros((rows, per * group)), np.zeros((rows, per * group), bool)
    columns = (np.arange(rows) // (rows // group) * per)[:, None] + np.arange(per)
    np.put_along_axis(sums, columns, taps.sum(2), 1)
    np.put_along_axis(touches, columns, taps.any(2), 1)
    return sums, touches


def _gemm(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Contraction | None:
    if node.attrs.get("transA", 0) or bias.ndim > 1 and bias.shape[0] != 1:
        return None
    matrix = weight.astype(np.float64) * node.attrs.get("alpha", 1.0)
    matrix = matrix if node.attrs.get("transB", 0) else matrix.T
    return Contraction(matrix, matrix != 0, bias.ravel().astype(np.float64) * node.attrs.get("beta", 1.0), True, 1, 1)


def _matmul(node: gs.Node, weight: np.ndarray) -> Contraction | None:
    rank = len(node.inputs[0].shape) if node.inputs[0].shape is not None else 0
    if rank < 2:
        return None
    matrix = weight.T.astype(np.float64)
    return Contraction(matrix, matrix != 0, np.zeros(1), True, rank - 1, rank - 1)


def _array(tensor: gs.Tensor) -> np.ndarray | None:
    return np.asarray(tensor.values) if isinstance(tensor, gs.Constant) else None


def _dilutes(node: gs.Node) -> bool:
    """Whether a pool counts zeros beside the border."""
    return node.op == "AveragePool" and bool(
        node.attrs.get("count_include_pad", 0) and (any(node.attrs.get("pads", ())) or "auto_pad" in node.attrs)
    )


def _clip(node: gs.Node, x: Values, *bounds: Values) -> Values:
    low = bounds[0] if bounds else node.attrs.get("min", -np.inf)
    high = bounds[1] if len(bounds) > 1 else node.attrs.get("max", np.inf)
    if bounds and not node.inputs[1].name:
        low, high = -np.inf, bounds[0]
    return np.minimum(np.maximum(x, low), high)


def _leaky(alpha: float) -> Callable:
    return lambda node, x: np.where(x < 0, node.attrs.get("alpha", alpha) * x, x)


_UNARY: dict[str, Callable] = {
    "Abs": lambda node, x: np.abs(x),
    "Clip": _clip,
    "Dropout": lambda node, x, *_: x,
    "Elu": lambda node, x: np.where(x < 0, node.attrs.get("alpha", 1.0) * np.expm1(x), x),
    "Exp": lambda node, x: np.exp(x),
    "HardSigmoid": lambda node, x: np.clip(node.attrs.get("alpha", 0.2) * x + node.attrs.get("beta", 0.5), 0, 1),
    "HardSwish": lambda node, x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": _leaky(0.01),
    "Neg": lambda node, x: -x,
    "Relu": lambda node, x: np.maximum(x, 0),
    "Sigmoid": lambda node, x: 1 / (1 + np.exp(-x)),
    "Softplus": lambda node, x: np.log1p(np.exp(x)),
    "Sqrt": lambda node, x: np.sqrt(x),
    "Tanh": lambda node, x: np.tanh(x),
}
_N_ARY: dict[str, Callable] = {
    "Add": sum,
    "Div": lambda parts: parts[0] / parts[1],
    "Max": lambda parts: np.max(parts, 0),
    "Min": lambda parts: np.min(parts, 0),
    "Mul": lambda parts: parts[0] * parts[1],
    "PRelu": lambda parts: np.where(parts[0] < 0, parts[0] * parts[1], parts[0]),
    "Sub": lambda parts: parts[0] - parts[1],
    "Sum": sum,
}
_OTHERS: dict[str, Callable[[Constancy, gs.Node, int], Values | None]] = {
    "BatchNormalization": Constancy._batch_norm,
    "Conv": Constancy._contraction,
    "ConvTranspose": Constancy._contraction,
    "Gemm": Constancy._contraction,
    "MatMul": Constancy._contraction,
    "Pad": Constancy._pad,
}
# No number changes here, or it is a mean or maximum of equal numbers.
_MOVES = frozenset(
    (
        *("AveragePool", "Concat", "DepthToSpace", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool"),
        *("Identity", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth"),
        *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Upsample"),
    )
)
