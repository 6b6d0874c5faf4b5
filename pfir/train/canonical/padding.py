"""The pads that auto_pad stands for."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from pfir.ir.windows import windows_of


def explicit_pads(node: gs.Node, sizes: Sequence[int], kernel: Sequence[int]) -> None:
    """Replace auto_pad of a convolution or pooling by the pads that it means; ORT's gradients ignore auto_pad.

    Args:
        node: Changed in place.
        sizes: Of the input's spatial axes.
        kernel: Of the window.
    """
    windows = windows_of(node, tuple(kernel))
    mode = node.attrs.pop("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, behind = zip(*windows.padding(tuple(sizes)), strict=True)
        node.attrs["pads"] = [*before, *behind]
