"""Sums, products, comparisons and functions of single numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import onnx
import onnx_graphsurgeon as gs
import torch
from torch import Tensor

Function = Callable[..., Any]

_DTYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


def div(node: gs.Node, a: Tensor, b: Tensor) -> Tensor:
    """The quotient; of integers its whole part, towards zero."""
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def mod(node: gs.Node, a: Tensor, b: Tensor) -> Tensor:
    """The remainder, with the sign of b, or with that of a where `fmod` is set."""
    return torch.fmod(a, b) if node.attrs.get("fmod", 0) else torch.remainder(a, b)


def power(node: gs.Node, a: Tensor, b: Tensor) -> Tensor:
    """a to the power of b, in the type of a."""
    return torch.pow(a, b).to(a.dtype)


def mean(node: gs.Node, *inputs: Tensor) -> Tensor:
    """The mean of tensors that broadcast to one another."""
    return functools.reduce(torch.add, inputs) / len(inputs)


def cast(node: gs.Node, x: Tensor) -> Tensor:
    """The same numbers in another type; GraphSurgeon reads it as NumPy's where it knows one."""
    kind = node.attrs["to"]
    number = kind if isinstance(kind, int) else onnx.helper.np_dtype_to_tensor_dtype(kind)
    return x.to(_DTYPES[int(number)])


def rounded(node: gs.Node, x: Tensor) -> Tensor:
    """The nearest whole numbers, halves to even; the gradient goes straight through.

    x + (round(x) - x) is round(x) without an error: the difference of two so close numbers is exact, and so the sum.

    Source: Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation", arXiv:1308.3432, section 2.3.
    """
    return x + (x.detach().round() - x.detach())


def _single(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda node, x: function(x)


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda node, a, b: function(a, b)


def _chain(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda node, *inputs: functools.reduce(function, inputs)


FUNCTIONS: dict[str, Function] = {
    "Add": _pair(torch.add),
    "Sub": _pair(torch.sub),
    "Mul": _pair(torch.mul),
    "Div": div,
    "Mod": mod,
    "Pow": power,
    "Max": _chain(torch.maximum),
    "Min": _chain(torch.minimum),
    "Sum": _chain(torch.add),
    "Mean": mean,
    "Abs": _single(torch.abs),
    "Neg": _single(torch.neg),
    "Reciprocal": _single(torch.reciprocal),
    "Sqrt": _single(torch.sqrt),
    "Exp": _single(torch.exp),
    "Log": _single(torch.log),
    "Erf": _single(torch.erf),
    "Sin": _single(torch.sin),
    "Cos": _single(torch.cos),
    "Tan": _single(torch.tan),
    "Floor": _single(torch.floor),
    "Ceil": _single(torch.ceil),
    "Sign": _single(torch.sign),
    "Round": rounded,
    "Identity": _single(lambda x: x),
    "Cast": cast,
    "Where": lambda node, chosen, a, b: torch.where(chosen, a, b),
    "Equal": _pair(torch.eq),
    "Greater": _pair(torch.gt),
    "GreaterOrEqual": _pair(torch.ge),
    "Less": _pair(torch.lt),
    "LessOrEqual": _pair(torch.le),
    "Not": _single(torch.logical_not),
    "And": _pair(torch.logical_and),
    "Or": _pair(torch.logical_or),
}
