"""Convolutions and products: what has weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor
from torch.nn import functional

from pfir.ir.windows import windows_of
from pfir.train.canonical.layers import TransposePlan

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def conv(node: gs.Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution `[N, A, *d]`, `[B, A / g, *k]` -> `[N, B, *e]`."""
    windows = windows_of(node, tuple(weight.shape[2:]))
    padding = windows.padding(tuple(x.shape[2:]))
    pads = [before for before, _ in padding]
    if any(before != behind for before, behind in padding):
        x, pads = functional.pad(x, ends_of(padding)), [0] * len(pads)
    group = node.attrs.get("group", 1)
    return _CONVOLUTIONS[len(pads)](x, _laid_out(weight), bias, windows.strides, pads, windows.dilations, group)


def conv_transpose(node: gs.Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A transposed convolution `[N, A, *d]`, `[A, B / g, *k]` -> `[N, B, *e]`: whole, then cut at its borders."""
    plan = TransposePlan(tuple(x.shape), tuple(weight.shape), node)
    function, stay = _TRANSPOSED[len(plan.kernel)], [0] * len(plan.kernel)
    whole = function(x, _laid_out(weight), bias, plan.strides, stay, plan.extra, plan.group, plan.dilations)
    for axis, (before, behind) in enumerate(plan.cuts, start=2):
        whole = whole.narrow(axis, before, whole.shape[axis] - before - behind)
    return whole


def gemm(node: gs.Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha A B + beta C, each of A and B transposed or not."""
    a = a.t() if node.attrs.get("transA", 0) else a
    b = b.t() if node.attrs.get("transB", 0) else b
    alpha, beta = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    if c is None:
        return (a @ b) * alpha
    return torch.addmm(c, a, b, beta=beta, alpha=alpha)


def einsum(node: gs.Node, *inputs: Tensor) -> Tensor:
    """The sum of products that the equation names."""
    return torch.einsum(node.attrs["equation"], *inputs)


def ends_of(padding: Sequence[tuple[int, int]]) -> list[int]:
    """Pads before and behind each axis as `functional.pad` takes them: the last axis first."""
    return [n for pair in reversed(padding) for n in pair]


def _laid_out(weight: Tensor) -> Tensor:
    """A weight of a plane's convolution with its channels last, as the images are."""
    return weight.contiguous(memory_format=torch.channels_last) if weight.dim() == 4 else weight


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": lambda node, a, b: torch.matmul(a, b),
    "Einsum": einsum,
}
