"""A node that contracts over channels, as linear algebra: its weight as a matrix, its input as rows of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.lib.stride_tricks import sliding_window_view

from pfir.ir.coupling.groups import Slice

MAX_FEATURES = 2304  # 256 channels of 3x3 windows; beyond it a Gram matrix costs more than it brings.


@dataclass(frozen=True)
class ConsumerMatrix:
    """y = W x for every window x, where W is [G, O, F] and a feature is (channel, tap) with the tap running fastest.

    Args:
        node: The node's name.
        op: Conv, ConvTranspose, Gemm or MatMul.
        tensor: The initializer that holds the weight.
        data: The activation that it contracts.
        channels: Width of the weight's contracted axis.
        taps: Features a channel has: the kernel's size, or 1 where taps count as outputs (`window` false).
        groups: Of a grouped convolution.
        window: Whether a row is a whole window; otherwise a row is one position, and each tap is an output of its own.
        bias: The initializer that is added to the outputs, if it is theirs alone.
        bias_scale: What y is multiplied by before that initializer is added, over the factor of the initializer.
        transposed: Gemm, MatMul: the weight is stored [F, O].
        axis: The axis of `data` that holds the channels, from the end for Gemm and MatMul.
        kernel, strides, dilations, pads, auto_pad: Of a convolution, as ONNX has them.
    """

    node: str
    op: str
    tensor: str
    data: str
    channels: int
    taps: int = 1
    groups: int = 1
    window: bool = True
    bias: str | None = None
    bias_scale: float = 1.0
    transposed: bool = False
    axis: int = 1
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    auto_pad: str = "NOTSET"

    @property
    def output_axis(self) -> int:
        """Where the output's channels lie."""
        return -1 if self.op in ("Gemm", "MatMul") else 1

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """The weight as float64 [G, O, F]."""
        weight = weight.astype(np.float64)
        if self.op in ("Gemm", "MatMul"):
            return (weight.T if self.transposed else weight)[None]
        return self._by_tap(weight) if not self.window else weight.reshape(self.groups, -1, self.channels * self.taps)

    def weight(self, matrix: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The inverse of `matrix`, in the shape and type of the weight `like`."""
        if self.op in ("Gemm", "MatMul"):
            return np.ascontiguousarray(matrix[0].T if self.transposed else matrix[0]).astype(like.dtype)
        if self.window:
            return matrix.reshape(like.shape).astype(like.dtype)
        return self._from_taps(matrix, like.shape).astype(like.dtype)

    def features(self, positions: np.ndarray) -> np.ndarray:
        """The feature indices of these positions of the contracted axis."""
        return (np.asarray(positions).reshape(-1, 1) * self.taps + np.arange(self.taps)).ravel()

    def places(self, shape: tuple[int, ...]) -> int:
        """How many rows one sample of an activation of this shape gives."""
        if self.op in ("Gemm", "MatMul"):
            return math.prod(shape[1:]) // shape[self.axis] if len(shape) > 1 else 1
        return math.prod(self._grid(shape[2:]) if self.window else shape[2:])

    def rows(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The rows of an activation at these places of every sample: [G, N * len(places), F]."""
        if self.op in ("Gemm", "MatMul"):
            x = x if x.ndim > 1 else x[None]
            rows = np.moveaxis(x, self.axis, -1).reshape(x.shape[0], -1, x.shape[self.axis])[:, places]
            return rows.reshape(1, -1, x.shape[self.axis])
        return self._windows(x, places) if self.window else self._positions(x, places)

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """Sums over what adds up to one output channel: [G, O, ...] or [G, O * taps, ...] to [channels out, ...]."""
        if self.window:
            return matrix.reshape(-1, *matrix.shape[2:])
        return matrix.reshape(-1, math.prod(self.kernel), *matrix.shape[2:]).sum(1)

    def _by_tap(self, weight: np.ndarray) -> np.ndarray:
        if self.op == "ConvTranspose":  # [F, O, *k] -> [1, O * k, F]
            return weight.reshape(self.channels, -1).T[None]
        split = weight.reshape(self.groups, -1, self.channels, math.prod(self.kernel))
        return split.swapaxes(2, 3).reshape(self.groups, -1, self.channels)

    def _from_taps(self, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        if self.op == "ConvTranspose":
            return np.ascontiguousarray(matrix[0].T).reshape(shape)
        split = matrix.reshape(self.groups, -1, math.prod(self.kernel), self.channels)
        return np.ascontiguousarray(split.swapaxes(2, 3)).reshape(shape)

    def _positions(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        rows = x.reshape(*x.shape[:2], -1)[:, :, places].swapaxes(1, 2)
        return rows.reshape(-1, self.groups, self.channels).swapaxes(0, 1)

    def _windows(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        padded = np.pad(x, [(0, 0), (0, 0), *self._padding(x.shape[2:])])
        windows = sliding_window_view(padded, self._reach(), axis=tuple(range(2, x.ndim)))
        steps = [slice(None, None, s) for s in self.strides] + [slice(None, None, d) for d in self.dilations]
        windows = windows[(slice(None), slice(None), *steps)]
        chosen = np.unravel_index(places, windows.shape[2 : x.ndim])
        picked = np.moveaxis(windows[(slice(None), slice(None), *chosen)], 2, 1)  # [N, P, C, *k]
        return picked.reshape(-1, self.groups, self.channels * self.taps).swapaxes(0, 1)

    def _reach(self) -> list[int]:
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def _grid(self, sizes: tuple[int, ...]) -> list[int]:
        """Output sizes of the convolution."""
        padded = [n + sum(pad) for n, pad in zip(sizes, self._padding(sizes), strict=True)]
        return [(n - r) // s + 1 for n, r, s in zip(padded, self._reach(), self.strides, strict=True)]

    def _padding(self, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        rank, reach = len(sizes), self._reach()
        if self.auto_pad in ("NOTSET", "", "VALID"):
            pads = self.pads if self.auto_pad != "VALID" else (0,) * (2 * rank)
            return [(pads[i], pads[i + rank]) for i in range(rank)]
        totals = [
            max(0, (math.ceil(n / s) - 1) * s + r - n) for n, s, r in zip(sizes, self.strides, reach, strict=True)
        ]
        small = [t // 2 for t in totals]
        if self.auto_pad == "SAME_UPPER":
            return [(a, t - a) for a, t in zip(small, totals, strict=True)]
        return [(t - a, a) for a, t in zip(small, totals, strict=True)]


def contraction(node: gs.Node, part: Slice) -> ConsumerMatrix | None:
    """How this node contracts over the axis of a consuming slice; None where it is not of a form known here."""
    if part.shared_axes or node.op not in _READERS:
        return None
    return _READERS[node.op](node, part)


def _conv(node: gs.Node, part: Slice) -> ConsumerMatrix | None:
    weight = node.inputs[1]
    if part.axis != 1 or not _is(weight, part) or weight.values.ndim < 3:
        return None
    kernel = weight.values.shape[2:]
    taps = math.prod(kernel)
    window = weight.values.shape[1] * taps <= MAX_FEATURES
    return ConsumerMatrix(
        node.name,
        node.op,
        part.tensor,
        node.inputs[0].name,
        weight.values.shape[1],
        taps if window else 1,
        window=window,
        **_geometry(node, kernel),
        **_bias(node, weight.values.shape[0]),
    )


def _conv_transpose(node: gs.Node, part: Slice) -> ConsumerMatrix | None:
    weight = node.inputs[1]
    if part.axis != 0 or not _is(weight, part) or node.attrs.get("group", 1) != 1:
        return None
    # Which taps meet in an output differs from place to place, so that no bias can hold the mean.
    geometry = _geometry(node, weight.values.shape[2:])
    return ConsumerMatrix(
        node.name, node.op, part.tensor, node.inputs[0].name, weight.values.shape[0], window=False, **geometry
    )


def _gemm(node: gs.Node, part: Slice) -> ConsumerMatrix | None:
    weight, by_row = node.inputs[1], bool(node.attrs.get("transB", 0))
    if node.attrs.get("transA", 0) or part.axis != int(by_row) or not _is(weight, part):
        return None
    bias = _bias(node, weight.values.shape[1 - int(by_row)])
    alpha, beta = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    bias = {**bias, "bias_scale": alpha / beta} if bias and beta else {}
    channels = weight.values.shape[int(by_row)]
    return ConsumerMatrix(
        node.name, node.op, part.tensor, node.inputs[0].name, channels, transposed=not by_row, axis=-1, **bias
    )


def _matmul(node: gs.Node, part: Slice) -> ConsumerMatrix | None:
    left, right = node.inputs
    if _is(right, part) and right.values.ndim == 2 and part.axis == 0:
        bias = _added(node, right.values.shape[1])
        size = right.values.shape[0]
        return ConsumerMatrix(node.name, node.op, part.tensor, left.name, size, transposed=True, axis=-1, **bias)
    if _is(left, part) and left.values.ndim == 2 and part.axis == 1:
        return ConsumerMatrix(node.name, node.op, part.tensor, right.name, left.values.shape[1], axis=-2)
    return None


_READERS = {"Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _matmul}


def _is(tensor: gs.Tensor, part: Slice) -> bool:
    return isinstance(tensor, gs.Constant) and tensor.name == part.tensor


def _geometry(node: gs.Node, kernel: tuple[int, ...]) -> dict:
    rank, attrs = len(kernel), node.attrs
    return {
        "kernel": tuple(kernel),
        "groups": int(attrs.get("group", 1)),
        "strides": tuple(attrs.get("strides") or [1] * rank),
        "dilations": tuple(attrs.get("dilations") or [1] * rank),
        "pads": tuple(attrs.get("pads") or [0] * 2 * rank),
        "auto_pad": attrs.get("auto_pad", "NOTSET"),
    }


def _bias(node: gs.Node, size: int) -> dict:
    """The node's third input, if it may be changed: one number for each output, and nobody else's."""
    if len(node.inputs) < 3 or not _own(node.inputs[2], size):
        return {}
    return {"bias": node.inputs[2].name}


def _added(node: gs.Node, size: int) -> dict:
    """The constant that an Add puts onto the output of a MatMul, if nobody else sees either."""
    readers = node.outputs[0].outputs
    if len(readers) != 1 or readers[0].op != "Add":
        return {}
    other = next((t for t in readers[0].inputs if t is not node.outputs[0]), None)
    if other is None or not _own(other, size) or other.values.shape[-1] != size:
        return {}
    return {"bias": other.name}


def _own(tensor: gs.Tensor, size: int) -> bool:
    return isinstance(tensor, gs.Constant) and tensor.values.size == size and len(tensor.outputs) == 1


def result_of(node: gs.Node, layer: ConsumerMatrix) -> gs.Tensor:
    """What the node gives once its bias is added."""
    added = node.op == "MatMul" and layer.bias is not None
    return node.outputs[0].outputs[0].outputs[0] if added else node.outputs[0]


def some(count: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `wanted` of `count` places, at random."""
    return np.arange(count) if count <= wanted else rng.choice(count, wanted, replace=False)
