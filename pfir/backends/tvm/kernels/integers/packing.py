"""Weights of eight bits and first values of sums, as the integer kernels read them.

Packed weights are flat: for each group and block `[KH, KW, groups of inputs, vectors, lanes, T]`, where T inputs are
multiplied together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.integers.groups import TOGETHER, values_of
from pfir.backends.tvm.schedule.blocks import Block


def pack(weight: np.ndarray, group: int, blocks: tuple[Block, ...], inner: int, together: int = TOGETHER) -> np.ndarray:
    """`[G*O, I, KH, KW]` int8 -> flat, as the kernel reads it.

    Args:
        inner: Input channels of a group in the image that is read: I, or more where a copy has some beside.
        together: Inputs that one instruction multiplies: 4 of dot products, 8 of matrix products.
    """
    channels = len(weight) // group
    wide = np.pad(weight, ((0, 0), (0, inner - weight.shape[1]), (0, 0), (0, 0)))
    groups = _groups(wide, together).reshape(group, channels, *weight.shape[2:], -1, together)
    return np.concatenate(
        [
            groups[g, lanes].transpose(1, 2, 3, 0, 4).reshape(-1)
            for g in range(group)
            for lanes in _lanes(blocks, channels)
        ]
    )


def joined(weight: np.ndarray, group: int, count: int) -> np.ndarray:
    """`[G*O, I, KH, KW]` -> `[G*O, count * I, KH, KW]`: of as many groups that are one, whose weights for each other's
    inputs are zero.

    Args:
        group: G.
    """
    outputs, inputs, *kernel = weight.shape
    wide = np.zeros((outputs, count, inputs, *kernel), weight.dtype)
    wide[np.arange(outputs), np.arange(outputs) // (outputs // group) % count] = weight
    return wide.reshape(outputs, count * inputs, *kernel)


def _groups(weight: np.ndarray, together: int) -> np.ndarray:
    """`[O, I, KH, KW]` -> `[O, KH, KW, groups, T]`, zeros where another group has the value."""
    taps = weight.transpose(0, 2, 3, 1)
    taps = np.concatenate([taps, np.zeros_like(taps[..., :1])], axis=-1)
    return taps[..., np.array(values_of(weight.shape[1], together))]


def _lanes(blocks: tuple[Block, ...], channels: int) -> list[list[int]]:
    """The output channels of each block's vectors; channels that do not exist are as the last one."""
    found, first = [], 0
    for block in blocks:
        for _ in range(block.count):
            lanes: list[int] = []
            for j, width in enumerate(block.lanes):
                begin = max(0, min(first + sum(block.lanes[:j]), channels - width))
                lanes += [min(channel, channels - 1) for channel in range(begin, begin + width)]
            found.append(lanes)
            first += block.channels
    return found


@dataclass(frozen=True)
class Border:
    """The positions along an axis by which taps of the kernel meet the image.

    Args:
        axis: Of the image and of the result.
    """

    axis: Axis

    @property
    def before(self) -> int:
        """Positions at the begin that are classes of their own: all of them where begin and end overlap."""
        return self.axis.out if self._cut_before + self._cut_behind > self.axis.out else self._cut_before

    @property
    def behind(self) -> int:
        """Positions at the end that are classes of their own."""
        return 0 if self._cut_before + self._cut_behind > self.axis.out else self._cut_behind

    @property
    def classes(self) -> int:
        """Those at the begin, one for all between them, those at the end."""
        return self.before + 1 + self.behind

    @property
    def _cut_before(self) -> int:
        return min(self.axis.out, max(0, -(-self.axis.pad // self.axis.stride)))

    @property
    def _cut_behind(self) -> int:
        axis = self.axis
        return sum(axis.at(place, axis.kernel - 1) >= axis.size for place in range(axis.out))

    def of(self, place: int) -> int:
        """The class of a position."""
        return min(place, self.before) + max(0, place - (self.axis.out - self.behind) + 1)

    def at(self, place: Any) -> Any:
        """The class of a position that is known when the kernel runs."""
        from tvm import tirx

        if self.classes == 1:
            return 0
        return tirx.min(place, self.before) + tirx.max(0, place - (self.axis.out - self.behind) + 1)

    def taps(self, kind: int) -> list[int]:
        """The taps that meet the image at the positions of a class."""
        out = self.axis.out
        if kind == self.before and self.before < out:
            return list(range(self.axis.kernel))
        return list(self.axis.inside(kind if kind < self.before else out - self.behind + kind - self.before - 1))


def starts(weight: np.ndarray, bias: np.ndarray | None, zero: int, rows: Border, columns: Border) -> np.ndarray:
    """What sums of products with the stored integers start from, so that they end as those with the integers minus
    their zero point: `[classes of rows, classes of columns, O]` int32, flat.

    Args:
        weight: `[O, I, KH, KW]` int8.
        bias: `[O]` int32, in steps of both scales' product; None without one.
        zero: The zero point of the stored input.
    """
    taps = weight.astype(np.int64).sum(axis=1)
    found = np.zeros((rows.classes, columns.classes, len(weight)), np.int64)
    for row, column in product(range(rows.classes), range(columns.classes)):
        met = taps[:, rows.taps(row)][:, :, columns.taps(column)]
        found[row, column] = -zero * met.sum(axis=(1, 2))
    return (found + (0 if bias is None else bias.astype(np.int64))).astype(np.int32).reshape(-1)
