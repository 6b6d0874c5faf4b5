"""Activation functions, with ONNX's defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor
from torch.nn import functional


def leaky_relu(node: gs.Node, x: Tensor) -> Tensor:
    """x above zero, alpha x below."""
    return functional.leaky_relu(x, node.attrs.get("alpha", 0.01))


def prelu(node: gs.Node, x: Tensor, slope: Tensor) -> Tensor:
    """x above zero, slope x below; the slope broadcasts to x."""
    return x.relu() - slope * (-x).relu()


def clip(node: gs.Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """x within bounds, of which either may be left out."""
    bounds = [None if bound is None else bound.item() for bound in (low, high)]
    return x if bounds == [None, None] else x.clamp(*bounds)


def hard_sigmoid(node: gs.Node, x: Tensor) -> Tensor:
    """alpha x + beta, within 0 and 1."""
    return (x * node.attrs.get("alpha", 0.2) + node.attrs.get("beta", 0.5)).clamp(0, 1)


def elu(node: gs.Node, x: Tensor) -> Tensor:
    """x above zero, alpha (exp(x) - 1) below."""
    return functional.elu(x, node.attrs.get("alpha", 1.0))


def selu(node: gs.Node, x: Tensor) -> Tensor:
    """gamma x above zero, gamma alpha (exp(x) - 1) below."""
    alpha = node.attrs.get("alpha", 1.6732632423543772)
    return functional.elu(x, alpha) * node.attrs.get("gamma", 1.0507009873554805)


def celu(node: gs.Node, x: Tensor) -> Tensor:
    """x above zero, alpha (exp(x / alpha) - 1) below."""
    return functional.celu(x, node.attrs.get("alpha", 1.0))


def thresholded_relu(node: gs.Node, x: Tensor) -> Tensor:
    """x above alpha, zero below."""
    return functional.threshold(x, node.attrs.get("alpha", 1.0), 0.0)


def gelu(node: gs.Node, x: Tensor) -> Tensor:
    """x Phi(x), or its approximation by tanh."""
    return functional.gelu(x, approximate=node.attrs.get("approximate", "none"))


def softmax(node: gs.Node, x: Tensor) -> Tensor:
    """exp(x) over its sum along an axis."""
    return functional.softmax(x, node.attrs.get("axis", -1), dtype=wide(x))


def log_softmax(node: gs.Node, x: Tensor) -> Tensor:
    """The logarithm of softmax, which cannot overflow."""
    return functional.log_softmax(x, node.attrs.get("axis", -1), dtype=wide(x))


def wide(x: Tensor) -> torch.dtype:
    """The type that sums of exponentials of x have: float32 behind products in bfloat16, else its own.

    PyTorch's autocast does the same on GPUs alone.
    """
    return torch.float32 if x.dtype == torch.bfloat16 else x.dtype


def dropout(node: gs.Node, x: Tensor, *_: Tensor) -> Tensor:
    """The input: a training graph is made of one for inference."""
    return x


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Relu": lambda node, x: x.relu(),
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Clip": clip,
    "Sigmoid": lambda node, x: x.sigmoid(),
    "Tanh": lambda node, x: x.tanh(),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": lambda node, x: functional.hardswish(x),
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "Softplus": lambda node, x: functional.softplus(x),
    "Softsign": lambda node, x: functional.softsign(x),
    "Mish": lambda node, x: functional.mish(x),
    "Gelu": gelu,
    "ThresholdedRelu": thresholded_relu,
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "Dropout": dropout,
}
