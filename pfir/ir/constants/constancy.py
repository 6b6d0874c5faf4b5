"""Channels whose value no input can change: what each position of each channel axis is then, all over its extent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.bias_absorption import too_coarse
from pfir.ir.constants.bodies import BODIES
from pfir.ir.constants.fused import FUSED
from pfir.ir.constants.known_constants import KnownConstants, Values, only_zero
from pfir.ir.constants.layers import LAYERS, dilutes
from pfir.ir.constants.quantized import FOREIGN, QUANTIZED
from pfir.ir.constants.recurrent import recurrent
from pfir.ir.coupling.trace import node_key
from pfir.ir.coupling.zero_points import made_with
from pfir.ir.edit import STANDARD_DOMAINS


class Constancy(KnownConstants):
    """Finds the constants of a traced graph, node by node in order."""

    def visit(self, node: gs.Node) -> None:
        """Find what the outputs of a node are, once its inputs are known."""
        self._follow(node)
        for tensor in node.outputs:
            for axis in range(len(self.trace.axes.get(tensor.name, ()))):
                values = self._found.get((tensor.name, axis))
                if values is not None and isinstance(tensor.dtype, np.dtype | type):
                    self._found[tensor.name, axis] = _held(values, np.dtype(tensor.dtype))

    def _follow(self, node: gs.Node) -> None:
        if node.op in BODIES and node_key(node) not in self.trace.given_up:
            BODIES[node.op](self, node)
            return
        if node.op in ("GRU", "LSTM", "RNN") and node.domain in STANDARD_DOMAINS:
            recurrent(self, node)
            return
        for name in [t.name for t in node.outputs]:
            for axis, labels in enumerate(self.trace.axes.get(name, ())):
                if labels is not None:
                    self.note((name, axis), self._rule(node, name, axis, labels))

    def _rule(self, node: gs.Node, name: str, axis: int, labels: np.ndarray) -> Values | None:
        if name != node.outputs[0].name and node.op != "Split":
            return None  # Masks and indices are other numbers than those they belong to.
        with np.errstate(all="ignore"):
            if node.domain not in STANDARD_DOMAINS:
                rule = (FUSED | FOREIGN).get(node.op) if node.domain == "com.microsoft" else None
                return rule(self, node, axis) if rule else None
            if node.op in _MOVES:
                return self._moved(node, axis, labels)
            if node.op in _KEEP_ZERO:
                return only_zero(self._moved(node, axis, labels))
            if node.op in _UNARY or node.op in _N_ARY:
                return self._elementwise(node, name, axis)
            rule = LAYERS.get(node.op) or QUANTIZED.get(node.op)
            return rule(self, node, axis) if rule else None

    def _moved(self, node: gs.Node, axis: int, labels: np.ndarray) -> Values:
        """The constants of positions that a node only moves: those of their channel, where all of that agrees."""
        channels, own_places = np.unique(self._root[labels], return_inverse=True)
        low, high = np.full(channels.size, np.inf), np.full(channels.size, -np.inf)
        silent = np.zeros(channels.size, bool)
        for tensor in _sources(node):
            here = np.zeros(channels.size, bool)
            for own, taken in enumerate(self.trace.axes.get(tensor.name, ())):
                if taken is None:
                    continue
                among = np.isin(self._root[taken], channels)
                places = np.searchsorted(channels, self._root[taken][among])
                values = self.along(tensor, own)
                values = np.full(taken.size, np.nan) if values is None else values
                np.minimum.at(low, places, values[among])
                np.maximum.at(high, places, values[among])
                here[places] = True
            silent |= ~here
        known = low[own_places] == high[own_places]
        if node.op != "Concat" or axis != node.attrs.get("axis", 1) % len(self.trace.axes[node.outputs[0].name]):
            known &= ~silent[own_places]  # Numbers of an input whose axis keeps its size are among these.
        agreed = np.where(known, low[own_places], np.nan)
        return only_zero(agreed) if dilutes(node) else agreed

    def _elementwise(self, node: gs.Node, name: str, axis: int) -> Values | None:
        if any(made_with(t) is not None for t in node.inputs):
            return None  # Integers wrap around and divide in their own way.
        rank = len(self.trace.axes[name])
        parts = [self.operand(t, rank, axis) for t in node.inputs if t.name]
        if any(p is None for p in parts) and node.op not in ("Mul", "Div"):
            return None
        width = self.trace.axes[name][axis].size
        parts = [np.full(width, np.nan) if p is None else np.broadcast_to(p, width) for p in parts]
        result = (_UNARY[node.op](node, *parts) if node.op in _UNARY else _N_ARY[node.op](parts)).astype(np.float64)
        unknown = np.isnan(np.stack(parts)).any(0)
        result = np.where(unknown, np.nan, result)
        zero = parts[0] == 0 if node.op == "Div" else (np.stack(parts) == 0).any(0)
        return np.where(zero, 0.0, result) if node.op in ("Mul", "Div") else result


def _held(values: Values, dtype: np.dtype) -> Values:
    """Constants that a type holds as they are, or so nearly that the digits which a runtime may keep do not matter."""
    if dtype.kind not in "iu":
        return np.where(too_coarse(values, dtype), np.nan, values)
    limits = np.iinfo(dtype)
    whole = (values == np.rint(values)) & (values >= limits.min) & (values <= limits.max)
    return np.where(whole, values, np.nan)


def _sources(node: gs.Node) -> list[gs.Tensor]:
    """The inputs whose numbers are moved; the others say how."""
    if node.op == "Concat":
        return list(node.inputs)
    return [node.inputs[0], node.inputs[2]] if node.op.startswith("Scatter") else [node.inputs[0]]


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
    # With a third input it may drop some.
    "Dropout": lambda node, x, *_: only_zero(x) if len(node.inputs) > 2 else x,
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
# No number changes here, or it is a mean or maximum of equal numbers.
_MOVES = frozenset(
    (
        *("AveragePool", "Concat", "DepthToSpace", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool"),
        *("Compress", "GatherElements", "GatherND", "ReverseSequence"),
        *("Identity", "MaxPool", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth"),
        *("Split", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze", "Upsample"),
    )
)
# What is zero stays zero; any other number changes.
_KEEP_ZERO = frozenset(
    (
        *("Cast", "CastLike", "Ceil", "Col2Im", "Erf", "Floor", "Gelu", "GridSample", "LpNormalization", "MaxUnpool"),
        *("Mish", "ReduceL1"),
        *("ReduceL2", "ReduceSum", "ReduceSumSquare", "RoiAlign", "Round", "ScatterElements", "ScatterND", "Selu"),
        *("Sign", "Sin", "Sinh", "Softsign", "Tan", "Trilu"),
    )
)
