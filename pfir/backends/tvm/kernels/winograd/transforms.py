"""Winograd's transforms along one axis, for tiles of 2 and 4 positions: of a kernel of 3, of the input, of the result.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308, section 4; the
last point of F(2, 3) has its sign turned in the input and in the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pfir.backends.tvm.lowering.expressions import like

Rows = tuple[tuple[int, ...], ...]

KERNEL = {
    2: ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)),
    4: ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24)),
}
"""By m the points of a kernel of 3 along an axis, in whole numbers: so many times too large as the last one says."""


def points_of(kernels: np.ndarray, rows: Rows) -> np.ndarray:
    """`[.., 9, N]` kernels of 3x3 -> `[.., P, N]`, their points along both axes by these rows of whole numbers.

    Terms are added in the order of the rows, those of zero left out, so that whoever computes in the same type gets
    the same bits (`library/compact/expand.c`).
    """
    values = [[kernels[..., 3 * y + x, :] for y in range(3)] for x in range(3)]
    columns = [[_sum(row, column) for row in rows] for column in values]
    return np.stack([_sum(row, [c[i] for c in columns]) for i in range(len(rows)) for row in rows], axis=-2)


def _sum(row: tuple[int, ...], values: list[np.ndarray]) -> np.ndarray:
    first, *others = [value * value.dtype.type(weight) for weight, value in zip(row, values, strict=True) if weight]
    return sum(others, first)


def forward(m: int, d: list[Any]) -> list[Any]:
    """The m + 2 points that stand for m + 2 values along one axis of the input."""
    if m == 2:
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]
    even, odd = weighted([(d[4], 1), (d[2], -4)]), weighted([(d[3], 1), (d[1], -4)])
    half, twice = d[4] - d[2], weighted([(d[3] - d[1], 2)])
    return [
        weighted([(half, 1), (d[0] - d[2], 4)]),
        even + odd,
        even - odd,
        half + twice,
        half - twice,
        weighted([(d[5], 1), (d[3], -5), (d[1], 4)]),
    ]


def backward(m: int, p: list[Any]) -> list[Any]:
    """The m values along one axis of the result that its m + 2 points stand for."""
    ends = {0: [(p[0], 1)], m - 1: [(p[-1], 1)]}
    pairs = [(pair, *p[2 * pair + 1 : 2 * pair + 3]) for pair in range(m // 2)]
    return [weighted([*ends.get(at, ()), *(both(at, *pair) for pair in pairs)]) for at in range(m)]


def both(at: int, pair: int, one: Any, other: Any) -> tuple[Any, float]:
    """What value `at` of the result takes from one pair of points, those of opposite signs, and its weight."""
    return (one - other if at % 2 else one + other), 2.0 ** (pair * at)


def weighted(terms: list[tuple[Any, float]]) -> Any:
    """The sum of the terms by their weights."""
    total = None
    for value, weight in terms:
        part = value if weight == 1 else value * like(value, weight)
        total = part if total is None else total + part
    return total
