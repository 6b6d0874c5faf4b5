"""Winograd's transforms along one axis, for tiles of 2 and 4 positions: of a kernel of 3, of the input, of the result.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308, section 4; the
last point of F(2, 3) has its sign turned in the input and in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import like

WEIGHTS = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / np.array([24.0]),
}


def forward(m: int, d: list[Any]) -> list[Any]:
    """The m + 2 points of as many values along one axis of the input."""
    if m == 2:
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]
    even, odd = weighted([(d[4], 1), (d[2], -4)]), weighted([(d[3], 1), (d[1], -4)])
    half, twice = d[4] - d[2], weighted([(d[3] - d[1], 2)])
    return [
        weighted([(d[4], 1), (d[2], -5), (d[0], 4)]), even + odd, even - odd,
        half + twice, half - twice, weighted([(d[5], 1), (d[3], -5), (d[1], 4)]),
    ]  # fmt: skip


def backward(m: int, p: list[Any]) -> list[Any]:
    """The m values along one axis of the result from its m + 2 points."""
    total, difference = p[1] + p[2], p[1] - p[2]
    if m == 2:
        return [p[0] + total, difference + p[3]]
    far, apart = p[3] + p[4], p[3] - p[4]
    return [
        p[0] + total + far, weighted([(difference, 1), (apart, 2)]),
        weighted([(total, 1), (far, 4)]), weighted([(difference, 1), (apart, 8)]) + p[5],
    ]  # fmt: skip


def weighted(terms: list[tuple[Any, float]]) -> Any:
    """The sum of the terms by their weights."""
    total = None
    for value, weight in terms:
        part = value if weight == 1 else value * like(value, weight)
        total = part if total is None else total + part
    return total
