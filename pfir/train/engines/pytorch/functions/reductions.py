"""Sums, means and maxima along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor

Reduce = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def top_k(node: gs.Node, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The largest or smallest numbers along an axis, and where they are."""
    axis, largest = node.attrs.get("axis", -1), bool(node.attrs.get("largest", 1))
    values, places = torch.topk(x, int(count), axis, largest, bool(node.attrs.get("sorted", 1)))
    return values, places


def arg_max(node: gs.Node, x: Tensor) -> Tensor:
    """Where the largest number along an axis is."""
    return x.argmax(node.attrs.get("axis", 0), keepdim=bool(node.attrs.get("keepdims", 1)))


def cumulative_sum(node: gs.Node, x: Tensor, axis: Tensor) -> Tensor:
    """Sums up to each place along an axis."""
    return x.cumsum(int(axis))


def _reduction(reduce: Reduce) -> Callable[..., Tensor]:
    """The operator of a reduction: its axes are an attribute or, since opset 18, an input; none means all."""

    def function(node: gs.Node, x: Tensor, given: Tensor | None = None) -> Tensor:
        axes = node.attrs.get("axes") if given is None else given.tolist()
        if not axes and node.attrs.get("noop_with_empty_axes", 0):
            return x
        chosen = tuple(axes) if axes else tuple(range(x.dim()))
        return reduce(x, chosen, bool(node.attrs.get("keepdims", 1)))

    return function


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "ReduceLogSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "TopK": top_k,
    "ArgMax": arg_max,
    "CumSum": cumulative_sum,
}
