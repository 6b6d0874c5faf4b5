"""What picks numbers out of a tensor, or puts some into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor


def gather(node: gs.Node, x: Tensor, indices: Tensor) -> Tensor:
    """Entries of an axis in the order, and the shape, of the indices."""
    axis = node.attrs.get("axis", 0) % x.dim()
    picked = x.index_select(axis, _counted(indices, x.shape[axis], x).flatten())
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def gather_elements(node: gs.Node, x: Tensor, indices: Tensor) -> Tensor:
    """At each place the entry of an axis that the index there names."""
    axis = node.attrs.get("axis", 0)
    return x.gather(axis, _counted(indices, x.shape[axis], x))


def gather_nd(node: gs.Node, x: Tensor, indices: Tensor) -> Tensor:
    """The parts that index tuples, along the last axis of the indices, name."""
    return x[tuple(indices.to(x.device).unbind(-1))]


def scatter_elements(node: gs.Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """The tensor with updates at the places that indices along an axis name."""
    axis = node.attrs.get("axis", 0)
    places = _counted(indices, x.shape[axis], x)
    if node.attrs.get("reduction", "none") == "add":
        return x.scatter_add(axis, places, updates)
    return x.scatter(axis, places, updates)


def scatter_nd(node: gs.Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """The tensor with updates at the places that index tuples name."""
    places = tuple(indices.to(x.device).unbind(-1))
    return x.index_put(places, updates, accumulate=node.attrs.get("reduction", "none") == "add")


def cut_out(
    node: gs.Node,
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """A part of each axis: bounds are clamped as Python's are, a negative step goes backwards."""
    count = starts.numel()
    chosen = range(count) if axes is None else axes.tolist()
    strides = [1] * count if steps is None else steps.tolist()
    for axis, start, end, step in zip(chosen, starts.tolist(), ends.tolist(), strides, strict=True):
        x = _cut_axis(x, axis % x.dim(), start, end, step)
    return x


def one_hot(node: gs.Node, indices: Tensor, depth: Tensor, off_on: Tensor) -> Tensor:
    """A new axis with the second value where the index points, and the first elsewhere."""
    axis, classes = node.attrs.get("axis", -1), int(depth)
    axis = axis % (indices.dim() + 1)
    shape = [classes if i == axis else 1 for i in range(indices.dim() + 1)]
    places = torch.arange(classes, device=indices.device).reshape(shape)
    chosen = torch.where(indices < 0, indices + classes, indices).unsqueeze(axis) == places
    return torch.where(chosen, off_on[1], off_on[0])


def _cut_axis(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    places = range(x.shape[axis])[start:end:step]
    if step > 0:
        return x[(slice(None),) * axis + (slice(places.start, places.stop, step),)]
    return x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))


def _counted(indices: Tensor, size: int, x: Tensor) -> Tensor:
    """Indices from the front, on the device of x, int64."""
    found = indices.to(x.device, torch.int64)
    return torch.where(found < 0, found + size, found)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Slice": cut_out,
    "OneHot": one_hot,
}
