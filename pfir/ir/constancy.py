"""Channels whose value no input can change: what each position of each channel axis is then, all over its extent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array
from pfir.ir.rules.trace import Trace
from pfir.ir.sums import contraction

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
            if node.op in _KEEP_ZERO:
                return _only_zero(self._moved(node, name, labels))
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
                values = self._along(tensor, axis)
                values = np.full(taken.size, np.nan) if values is None else values
                np.minimum.at(low, roots, values)
                np.maximum.at(high, roots, values)
        roots = self._root[labels]
        agreed = np.where(low[roots] == high[roots], low[roots], np.nan)
        return _only_zero(agreed) if _dilutes(node) else agreed

    def _along(self, tensor: gs.Tensor, axis: int) -> Values | None:
        """What a tensor is along an axis, if nothing else decides; of a weight, what all of a row is."""
        if not isinstance(tensor, gs.Constant):
            return self._found.get((tensor.name, axis))
        values = np.asarray(tensor.values)
        if values.dtype.kind != "f" or not values.size:
            return None
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        return np.where((rows == rows[:, :1]).all(1), rows[:, 0], np.nan).astype(np.float64)

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
        arrays = [array(t) for t in node.inputs[1:5]]
        if axis != 1 or any(a is None for a in arrays):
            return None
        scale, shift, mean, variance = arrays
        values = np.full(scale.size, np.nan) if values is None else values
        result = (values - mean) / np.sqrt(variance + node.attrs.get("epsilon", 1e-5)) * scale + shift
        return np.where(scale == 0, shift, result)

    def _pad(self, node: gs.Node, axis: int) -> Values | None:
        values = self._found.get((node.inputs[0].name, axis))
        pads = self._trace.values.get(node.inputs[1].name) if len(node.inputs) > 1 else node.attrs.get("pads")
        fill = array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else np.zeros(1)
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
        found = contraction(node, self._trace.shapes)
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
            if from_end != summed and from_end + len(dims) >= 0:
                zero |= self._zero(tensor, from_end + len(dims), labels)
        return np.where(zero, 0.0, np.nan)

    def _zero(self, tensor: gs.Tensor, axis: int, labels: np.ndarray) -> np.ndarray:
        """Which positions of a factor are zero; none where it broadcasts."""
        values = self._along(tensor, axis)
        return values == 0 if values is not None and values.shape == labels.shape else np.zeros(labels.size, bool)

    def _einsum(self, node: gs.Node, axis: int) -> Values | None:
        terms, arrow, result = node.attrs["equation"].replace(" ", "").partition("->")
        if "." in terms or not arrow:
            return None
        labels, zero = self._trace.labels(node.outputs[0].name, axis), False
        for tensor, term in zip(node.inputs, terms.split(","), strict=True):
            if result[axis] in term:
                zero = zero | self._zero(tensor, term.index(result[axis]), labels)
        return np.where(zero, 0.0, np.nan)

    def _norm(self, node: gs.Node, axis: int) -> Values | None:
        """A channel, or a whole group of channels, that is zero gives the shift."""
        values, shift = self._found.get((node.inputs[0].name, 1)), array(node.inputs[2])
        if axis != 1 or values is None or shift is None:
            return None
        zero = (values.reshape(node.attrs.get("num_groups", values.size), -1) == 0).all(1)
        each = values.size // zero.size
        return np.where(np.repeat(zero, each), np.repeat(shift, values.size // shift.size), np.nan)


def _only_zero(values: Values) -> Values:
    return np.where(values == 0, 0.0, np.nan)


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
    "Einsum": Constancy._einsum,
    "Gemm": Constancy._contraction,
    "GroupNormalization": Constancy._norm,
    "InstanceNormalization": Constancy._norm,
    "MatMul": Constancy._contraction,
    "Pad": Constancy._pad,
}
# No number changes here, or it is a mean or maximum of equal numbers.
_MOVES = frozenset(
    (
        *("AveragePool", "Concat", "DepthToSpace", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool"),
        *("Compress", "Expand", "GatherElements", "GatherND", "ReverseSequence"),
        *("Identity", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth"),
        *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Upsample"),
    )
)
# What is zero stays zero; any other number changes.
_KEEP_ZERO = frozenset(
    (
        *("Cast", "CastLike", "Ceil", "Erf", "Floor", "Gelu", "GridSample", "Mish", "ReduceL1", "ReduceL2"),
        *("ReduceSum", "ReduceSumSquare", "RoiAlign", "Round", "ScatterElements", "ScatterND", "Selu", "Sign", "Sin"),
        *("Sinh", "Softsign", "Tan", "Trilu"),
    )
)
