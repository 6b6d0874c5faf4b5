"""The windows of a convolution: which inputs each of its outputs sums over."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.lib.stride_tricks import sliding_window_view


@dataclass(frozen=True)
class Windows:
    """Where a convolution looks, one number for each spatial axis.

    Args:
        kernel: Taps of a window.
        strides: Positions from one window to the next.
        dilations: Positions from one tap to the next.
        pads: Zeros before each axis, then behind each.
        auto_pad: As ONNX has it; "NOTSET" where `pads` count.
    """

    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    auto_pad: str = "NOTSET"

    @property
    def taps(self) -> int:
        """How many inputs of a channel are in a window."""
        return math.prod(self.kernel)

    def grid(self, sizes: tuple[int, ...]) -> list[int]:
        """How many windows there are along each axis of an input of these sizes."""
        padded = [n + sum(pad) for n, pad in zip(sizes, self.padding(sizes), strict=True)]
        return [(n - r) // s + 1 for n, r, s in zip(padded, self._reach(), self.strides, strict=True)]

    def of(self, x: np.ndarray) -> np.ndarray:
        """The windows of x [N, C, *d] as [N, C, *grid, *kernel], without a copy of what overlaps."""
        padded = np.pad(x, [(0, 0), (0, 0), *self.padding(x.shape[2:])])
        windows = sliding_window_view(padded, self._reach(), axis=tuple(range(2, x.ndim)))
        steps = [slice(None, None, s) for s in self.strides] + [slice(None, None, d) for d in self.dilations]
        return windows[(slice(None), slice(None), *steps)]

    def padding(self, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
        """Zeros before and behind each axis of an input of these sizes."""
        rank = len(sizes)
        if self.auto_pad in ("NOTSET", "", "VALID"):
            pads = self.pads if self.auto_pad != "VALID" else (0,) * (2 * rank)
            return [(pads[i], pads[i + rank]) for i in range(rank)]
        totals = [
            max(0, (math.ceil(n / s) - 1) * s + r - n)
            for n, s, r in zip(sizes, self.strides, self._reach(), strict=True)
        ]
        small = [t // 2 for t in totals]
        if self.auto_pad == "SAME_UPPER":
            return [(a, t - a) for a, t in zip(small, totals, strict=True)]
        return [(t - a, a) for a, t in zip(small, totals, strict=True)]

    def _reach(self) -> list[int]:
        """Positions from the first tap of a window to its last, both counted."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]


def windows_of(node: gs.Node, kernel: tuple[int, ...]) -> Windows:
    """The windows of a node whose weight has this kernel."""
    rank, attrs = len(kernel), node.attrs
    return Windows(
        tuple(kernel),
        tuple(attrs.get("strides") or [1] * rank),
        tuple(attrs.get("dilations") or [1] * rank),
        tuple(attrs.get("pads") or [0] * 2 * rank),
        attrs.get("auto_pad", "NOTSET"),
    )
