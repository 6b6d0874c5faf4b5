"""The pads that auto_pad stands for."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs


def explicit_pads(node: gs.Node, sizes: Sequence[int], kernel: Sequence[int]) -> None:
    """Replace auto_pad of a convolution or pooling by the pads that it means; ORT's gradients ignore auto_pad.

    Args:
        node: Changed in place.
        sizes: Of the input's spatial axes.
        kernel: Of the window.
    """
    mode = node.attrs.pop("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        node.attrs["pads"] = same_pads(mode, sizes, kernel, *_steps(node, len(kernel)))


def same_pads(
    mode: str, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Pads `[begin..., end...]` that give ceil(size / stride) outputs."""
    totals = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        outputs = -(-size // stride)
        totals.append(max(0, (outputs - 1) * stride + dilation * (k - 1) + 1 - size))
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return small + large if mode == "SAME_UPPER" else large + small


def _steps(node: gs.Node, rank: int) -> tuple[list[int], list[int]]:
    return list(node.attrs.get("strides", [1] * rank)), list(node.attrs.get("dilations", [1] * rank))
