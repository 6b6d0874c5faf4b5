"""Resize, axis by axis: every interpolation along an axis is a linear map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import Tensor

from pfir.train.canonical.resize import unit_response


def resize(
    node: gs.Node, x: Tensor, region: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Longer or shorter along some axes, by the matrix that Resize itself makes of the unit vectors.

    Where nearest neighbours are whole copies, they are copied.
    """
    factors = _factors(node, scales)
    after = sizes.tolist() if sizes is not None and sizes.numel() else _sizes(x, factors or [])
    for axis in (a for a in range(x.dim()) if x.shape[a] != after[a]):
        if _copies(node, x.shape[axis], after[axis]):
            x = x.repeat_interleave(after[axis] // x.shape[axis], axis)
        else:
            matrix = _matrix(node.attrs, x.shape[axis], after[axis], factors[axis] if factors else None)
            x = torch.tensordot(x, torch.from_numpy(matrix).to(x), ([axis], [0])).movedim(-1, axis)
    return x


def _factors(node: gs.Node, scales: Tensor | None) -> list[float] | None:
    """The scales; those that are constant come from the node, since on a GPU reading a tensor waits for it."""
    if scales is None or not scales.numel():
        return None
    given = node.inputs[2]
    return given.values.tolist() if isinstance(given, gs.Constant) else scales.tolist()


def _matrix(attrs: Mapping[str, Any], before: int, after: int, scale: float | None) -> np.ndarray:
    return _remembered(tuple(sorted(attrs.items())), before, after, scale)


@lru_cache(maxsize=64)
def _remembered(attrs: tuple[tuple[str, Any], ...], before: int, after: int, scale: float | None) -> np.ndarray:
    """The matrix of such a Resize along an axis; a session of ONNX Runtime makes it, too slowly for each step."""
    return unit_response(gs.Node("Resize", attrs=dict(attrs)), before, after, scale)


def _sizes(x: Tensor, scales: list[float]) -> list[int]:
    return [int(n * scale) for n, scale in zip(x.shape, scales, strict=True)]


def _copies(node: gs.Node, before: int, after: int) -> bool:
    """Whether this is nearest neighbours by a whole factor, each from where its position over the factor lies."""
    attrs = node.attrs
    simple = attrs.get("coordinate_transformation_mode") == "asymmetric" and attrs.get("nearest_mode") == "floor"
    return attrs.get("mode", "nearest") == "nearest" and simple and after % before == 0


FUNCTIONS: dict[str, Callable[..., Any]] = {"Resize": resize}
