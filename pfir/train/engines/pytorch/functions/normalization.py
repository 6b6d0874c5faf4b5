"""Normalization: by statistics of the batch, running ones, or each sample's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor
from torch.nn import functional


def batch_norm(node: gs.Node, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """By the running statistics, or by the batch's where the node is in training mode.

    There the running ones move on in place, the variance by the biased one of the batch, as ONNX has it.
    """
    epsilon = node.attrs.get("epsilon", 1e-5)
    if not node.attrs.get("training_mode", 0):
        return functional.batch_norm(x, mean, variance, scale, shift, False, 0.0, epsilon)
    y, batch_mean, inverse = torch.native_batch_norm(x, scale, shift, None, None, True, 0.0, epsilon)
    share = 1 - node.attrs.get("momentum", 0.9)
    with torch.no_grad():
        mean.lerp_(batch_mean, share)
        variance.lerp_(inverse.pow(-2) - epsilon, share)
    return y


def instance_norm(node: gs.Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Each channel of each sample by its own mean and variance."""
    return functional.instance_norm(x, weight=scale, bias=shift, eps=node.attrs.get("epsilon", 1e-5))


def layer_norm(node: gs.Node, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    """By mean and variance over the axes from `axis` on."""
    shape = x.shape[node.attrs.get("axis", -1) :]
    weight, bias = (None if t is None else t.expand(shape) for t in (scale, shift))
    return functional.layer_norm(x, shape, weight, bias, node.attrs.get("epsilon", 1e-5))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
}
