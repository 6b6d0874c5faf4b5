"""Maxima and means over windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor
from torch.nn import functional

from pfir.ir.windows import Windows, windows_of
from pfir.train.engines.pytorch.functions.layers import ends_of

_MAXIMA = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_MEANS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def max_pool(node: gs.Node, x: Tensor) -> Tensor:
    """The largest number of each window; what is padded is never it."""
    windows = windows_of(node, tuple(node.attrs["kernel_shape"]))
    padding = _with_last_windows(node, windows, x)
    padded = functional.pad(x, ends_of(padding), value=-torch.inf) if _any(padding) else x
    return _MAXIMA[len(padding)](padded, windows.kernel, windows.strides, 0, windows.dilations)


def average_pool(node: gs.Node, x: Tensor) -> Tensor:
    """The mean of each window, over what is in the input or, with `count_include_pad`, in its padding, too."""
    windows = windows_of(node, tuple(node.attrs["kernel_shape"]))
    own, padding = windows.padding(tuple(x.shape[2:])), _with_last_windows(node, windows, x)
    pooled = _means(x, windows, padding)
    if not _any(padding):
        return pooled
    counted = torch.ones_like(x[:1, :1])
    if node.attrs.get("count_include_pad", 0):
        counted = functional.pad(counted, ends_of(own), value=1.0)
        padding = [(0, whole - part) for (_, whole), (_, part) in zip(padding, own, strict=True)]
    return pooled / _means(counted, windows, padding)


def global_max_pool(node: gs.Node, x: Tensor) -> Tensor:
    """The largest number of each channel."""
    return _MAXIMA[x.dim() - 2](x, tuple(x.shape[2:]))


def global_average_pool(node: gs.Node, x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def _means(x: Tensor, windows: Windows, padding: list[tuple[int, int]]) -> Tensor:
    padded = functional.pad(x, ends_of(padding)) if _any(padding) else x
    return _MEANS[len(padding)](padded, windows.kernel, windows.strides)


def _with_last_windows(node: gs.Node, windows: Windows, x: Tensor) -> list[tuple[int, int]]:
    """Pads before and behind each axis; with `ceil_mode` also what a last window lacks that begins inside."""
    sizes = tuple(x.shape[2:])
    padding = windows.padding(sizes)
    if not node.attrs.get("ceil_mode", 0):
        return padding
    longer = []
    for i, (before, behind) in enumerate(padding):
        reach, stride = windows.dilations[i] * (windows.kernel[i] - 1) + 1, windows.strides[i]
        last = -(-(sizes[i] + before + behind - reach) // stride) * stride
        last -= stride if last >= sizes[i] + before else 0
        longer.append((before, max(behind, last + reach - sizes[i] - before)))
    return longer


def _any(padding: list[tuple[int, int]]) -> bool:
    return any(n for pair in padding for n in pair)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalMaxPool": global_max_pool,
    "GlobalAveragePool": global_average_pool,
}
