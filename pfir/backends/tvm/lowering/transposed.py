"""Transposed convolutions as ordinary ones: of the spread input, or of the input itself to all phases of the result.

With strides s, output position y is tap s * a + (y + pad) % s of input position (y + pad) // s - a. So each of the
s_h * s_w phases is a convolution of stride 1 over one in s taps of the kernel, all of them are one convolution with as
many times the channels, and nothing is multiplied with zeros that were spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phases:
    """The convolution that computes all phases, for kernels of no dilation in one group.

    Args:
        strides: Of the transposed convolution.
        pads: Those at the begin of its output.
        kernel: Its own.
        out: Rows and columns of its output.
    """

    strides: tuple[int, int]
    pads: tuple[int, int]
    kernel: tuple[int, int]
    out: tuple[int, int]

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of its kernel."""
        return tuple(-(-k // s) for k, s in zip(self.kernel, self.strides, strict=True))

    @property
    def first(self) -> tuple[int, int]:
        """The first position of each phase that the output shows."""
        return tuple(p // s for p, s in zip(self.pads, self.strides, strict=True))

    @property
    def sizes(self) -> tuple[int, int]:
        """Positions of each phase that the output shows."""
        ends = zip(self.out, self.pads, self.strides, self.first, strict=True)
        return tuple((size - 1 + p) // s - f + 1 for size, p, s, f in ends)

    @property
    def begin(self) -> tuple[int, int]:
        """Zeros before its input."""
        return tuple(t - 1 - f for t, f in zip(self.taps, self.first, strict=True))

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """`[I, O, KH, KW]` -> `[s_h * s_w * O, I, *taps]`, zeros where the strides do not divide the kernel."""
        (sh, sw), (th, tw) = self.strides, self.taps
        padded = np.pad(weight, ((0, 0), (0, 0), (0, th * sh - weight.shape[2]), (0, tw * sw - weight.shape[3])))
        apart = padded.reshape(*weight.shape[:2], th, sh, tw, sw)[:, :, ::-1, :, ::-1]
        return apart.transpose(3, 5, 1, 0, 2, 4).reshape(sh * sw * weight.shape[1], weight.shape[0], th, tw)


def turned(weight: np.ndarray, groups: int) -> np.ndarray:
    """`[I, O / groups, KH, KW]` -> `[O, I / groups, KH, KW]`, the kernel turned around."""
    inner, out, *kernel = weight.shape
    grouped = weight[:, :, ::-1, ::-1].reshape(groups, inner // groups, out, *kernel)
    return grouped.transpose(0, 2, 1, 3, 4).reshape(-1, inner // groups, *kernel)
