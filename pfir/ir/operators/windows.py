"""The attributes of operators that slide a window: strides, dilations, and pads with `auto_pad` worked out."""

from __future__ import annotations

import onnx_graphsurgeon as gs


def pads_of(node: gs.Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Begin and end pads of each spatial axis, `auto_pad` worked out."""
    rank = len(kernel)
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return (0,) * (2 * rank)
    if mode == "NOTSET":
        return tuple(int(p) for p in node.attrs.get("pads", [0] * (2 * rank)))
    strides, dilations = each_of(node, "strides", rank), each_of(node, "dilations", rank)
    total = [
        max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        for size, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)
    ]
    small = [t // 2 for t in total]
    large = [t - s for t, s in zip(total, small, strict=True)]
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def each_of(node: gs.Node, name: str, rank: int) -> tuple[int, ...]:
    """An attribute of one whole number an axis, 1 where it is left out."""
    return tuple(int(v) for v in node.attrs.get(name, [1] * rank))
