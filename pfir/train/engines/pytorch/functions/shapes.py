"""Shapes: what moves, joins, splits, repeats or pads, and what tells sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor
from torch.nn import functional

from pfir.train.engines.pytorch.functions.layers import ends_of

_PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def reshape(node: gs.Node, x: Tensor, sizes: Tensor) -> Tensor:
    """Other sizes; 0 stands for the size at its place, unless `allowzero` is set."""
    wanted = sizes.tolist()
    if not node.attrs.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(node: gs.Node, x: Tensor) -> Tensor:
    """A matrix: the axes before `axis`, and those from it on."""
    axis = node.attrs.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(x.shape[:axis].numel(), -1)


def transpose(node: gs.Node, x: Tensor) -> Tensor:
    """Axes in another order; reversed where none is given."""
    return x.permute(node.attrs.get("perm") or tuple(reversed(range(x.dim()))))


def squeeze(node: gs.Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without these axes of size 1, or without any."""
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def unsqueeze(node: gs.Node, x: Tensor, axes: Tensor) -> Tensor:
    """With axes of size 1 at these places of the result."""
    rank = x.dim() + axes.numel()
    for axis in sorted(a % rank for a in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def concat(node: gs.Node, *inputs: Tensor) -> Tensor:
    """Tensors one behind the other along an axis."""
    return torch.cat(inputs, node.attrs["axis"])


def split(node: gs.Node, x: Tensor, sizes: Tensor | None = None) -> Sequence[Tensor]:
    """Parts along an axis, of these sizes or alike; then the last may be smaller."""
    axis, count = node.attrs.get("axis", 0), len(node.outputs)
    return torch.split(x, -(-x.shape[axis] // count) if sizes is None else sizes.tolist(), axis)


def expand(node: gs.Node, x: Tensor, sizes: Tensor) -> Tensor:
    """Repeated along axes of size 1, as broadcasting does it in both directions."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(sizes.tolist())))


def tile(node: gs.Node, x: Tensor, repeats: Tensor) -> Tensor:
    """Whole copies side by side, so many along each axis."""
    return x.repeat(repeats.tolist())


def pad(node: gs.Node, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    """Longer, or shorter where a pad is negative, along all axes or these."""
    chosen = range(x.dim()) if axes is None else [a % x.dim() for a in axes.tolist()]
    count, sizes, padding = len(chosen), pads.tolist(), [(0, 0)] * x.dim()
    for i, axis in enumerate(chosen):
        padding[axis] = sizes[i], sizes[i + count]
    mode = _PADDING[node.attrs.get("mode", "constant")]
    if mode == "constant":
        return functional.pad(x, ends_of(padding), value=0.0 if value is None else value.item())
    # The batch and the channels are never padded so, and PyTorch wants only the axes behind them.
    return functional.pad(x, ends_of(padding[2:]), mode)


def depth_to_space(node: gs.Node, x: Tensor) -> Tensor:
    """Channels moved into squares of `blocksize`."""
    n, c, h, w = x.shape
    s = node.attrs["blocksize"]
    if node.attrs.get("mode", "DCR") == "DCR":
        return x.reshape(n, s, s, c // s**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // s**2, h * s, w * s)
    return x.reshape(n, c // s**2, s, s, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // s**2, h * s, w * s)


def space_to_depth(node: gs.Node, x: Tensor) -> Tensor:
    """Squares of `blocksize` moved into channels."""
    n, c, h, w = x.shape
    s = node.attrs["blocksize"]
    return x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4).reshape(n, c * s**2, h // s, w // s)


def trilu(node: gs.Node, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """The upper or the lower triangle of matrices."""
    cut = torch.triu if node.attrs.get("upper", 1) else torch.tril
    return cut(x, 0 if diagonal is None else int(diagonal))


def shape(node: gs.Node, x: Tensor) -> Tensor:
    """The sizes, or some of them."""
    return torch.tensor(x.shape[node.attrs.get("start", 0) : node.attrs.get("end")], dtype=torch.int64)


def constant_of_shape(node: gs.Node, sizes: Tensor) -> Tensor:
    """One number everywhere."""
    given = node.attrs.get("value")
    value = torch.zeros(1) if given is None else torch.from_numpy(given.values.copy())
    return value.reshape([1] * sizes.numel()).expand(sizes.tolist())


def number_range(node: gs.Node, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    """Numbers from the start up to the limit, without it."""
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Expand": expand,
    "Tile": tile,
    "Pad": pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Trilu": trilu,
    "Shape": shape,
    "Size": lambda node, x: torch.tensor(x.numel()),
    "ConstantOfShape": constant_of_shape,
    "Range": number_range,
}
