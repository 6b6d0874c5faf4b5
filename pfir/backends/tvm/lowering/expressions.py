"""ONNX's element-wise operators as TensorIR expressions; transcendental ones as polynomials that vectorise.

Arguments are float32, and of the operators in `IN_HALF` alternatively float16; those of DequantizeLinear are integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pfir.backends.tvm.kernels.integers.eight_bits import dequantized, quantized
from pfir.backends.tvm.lowering.form import Quantization

Attributes = dict[str, Any]


def expression(op: str, arguments: list[Any], attributes: Attributes) -> Any:
    """The value of one element of an operator in `ELEMENTWISE`."""
    return ELEMENTWISE[op](arguments, attributes)


def const(value: float, dtype: str = "float32") -> Any:
    from tvm import tirx

    return tirx.const(float(value), dtype)


def like(x: Any, value: float) -> Any:
    """The number as the type of an expression."""
    return const(value, str(x.ty))


def maximum(a: Any, b: Any) -> Any:
    from tvm import tirx

    return tirx.max(a, b)


def minimum(a: Any, b: Any) -> Any:
    from tvm import tirx

    return tirx.min(a, b)


def clamp(x: Any, low: float, high: float) -> Any:
    return minimum(maximum(x, like(x, low)), like(x, high))


def where(condition: Any, yes: Any, no: Any) -> Any:
    from tvm import tirx

    return tirx.Select(condition, yes, no)


def exp(x: Any) -> Any:
    """e^x to about two units in the last place, saturating at the ends of float32's normal range.

    Source: the usual range reduction x = n ln 2 + r with Cody and Waite's split of ln 2 (Software Manual for the
    Elementary Functions, 1980, chapter 6) and the Taylor polynomial of degree 7 on |r| <= ln 2 / 2.
    """
    from tvm import tirx

    x = clamp(x, -87.0, 88.0)
    # With the exponent's bias it is positive, where a conversion, which every core has, rounds down.
    exponent = (x * const(1.4426950408889634) + const(127.5)).astype("int32")
    n = exponent.astype("float32") - const(127)
    r = x - n * const(0.693359375) + n * const(2.12194440e-4)
    p = const(1 / math.factorial(7))
    for degree in range(6, -1, -1):
        p = p * r + const(1 / math.factorial(degree))
    return p * tirx.reinterpret("float32", exponent << tirx.const(23, "int32"))


def sigmoid(x: Any) -> Any:
    return const(1) / (const(1) + exp(const(0) - x))


def tanh(x: Any) -> Any:
    """Near zero a series, since 1 - 2 / (e^2x + 1) cancels there."""
    square = x * x
    series = x * (const(1) + square * (const(-1 / 3) + square * (const(2 / 15) + square * const(-17 / 315))))
    large = const(1) - const(2) / (exp(x * const(2)) + const(1))
    return where(square < const(0.01), series, large)


def erf(x: Any) -> Any:
    """The error function to 1.5e-7 absolute.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, formula 7.1.26.
    """
    size = maximum(x, const(0) - x)
    t = const(1) / (const(1) + const(0.3275911) * size)
    p = const(1.061405429)
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        p = p * t + const(c)
    value = const(1) - p * t * exp(const(0) - x * x)
    return where(x < const(0), const(0) - value, value)


def _fold(combine: Callable[[Any, Any], Any]) -> Callable[[list[Any], Attributes], Any]:
    def run(arguments: list[Any], _: Attributes) -> Any:
        total = arguments[0]
        for argument in arguments[1:]:
            total = combine(total, argument)
        return total

    return run


def _intrinsic(name: str) -> Callable[[list[Any], Attributes], Any]:
    def run(arguments: list[Any], _: Attributes) -> Any:
        from tvm import tirx

        return getattr(tirx, name)(arguments[0])

    return run


def _prelu(a: list[Any], _: Attributes) -> Any:
    return maximum(a[0], like(a[0], 0)) + a[1] * minimum(a[0], like(a[0], 0))


def _leaky(a: list[Any], attributes: Attributes) -> Any:
    return where(a[0] < like(a[0], 0), a[0] * like(a[0], attributes.get("alpha", 0.01)), a[0])


def _clip(a: list[Any], attributes: Attributes) -> Any:
    x = a[0]
    if attributes.get("min") is not None:
        x = maximum(x, like(x, attributes["min"]))
    if attributes.get("max") is not None:
        x = minimum(x, like(x, attributes["max"]))
    return x


def _hard_sigmoid(a: list[Any], attributes: Attributes) -> Any:
    alpha, beta = (like(a[0], attributes.get(name, usual)) for name, usual in (("alpha", 0.2), ("beta", 0.5)))
    return clamp(a[0] * alpha + beta, 0, 1)


def _elu(a: list[Any], attributes: Attributes) -> Any:
    return where(a[0] < const(0), const(attributes.get("alpha", 1.0)) * (exp(a[0]) - const(1)), a[0])


def _selu(a: list[Any], attributes: Attributes) -> Any:
    alpha = attributes.get("alpha", 1.67326319217681884765625)
    gamma = attributes.get("gamma", 1.05070102214813232421875)
    return const(gamma) * _elu(a, {"alpha": alpha})


def _gelu(a: list[Any], attributes: Attributes) -> Any:
    x = a[0]
    if attributes.get("approximate", "none") == "tanh":
        inner = const(math.sqrt(2 / math.pi)) * (x + const(0.044715) * x * x * x)
        return const(0.5) * x * (const(1) + tanh(inner))
    return const(0.5) * x * (const(1) + erf(x * const(math.sqrt(0.5))))


def _quantize(a: list[Any], attributes: Attributes) -> Any:
    return quantized(a[0], _quantization(attributes), attributes["dtype"])


def _dequantize(a: list[Any], attributes: Attributes) -> Any:
    return dequantized(a[0], _quantization(attributes))


def _quantization(attributes: Attributes) -> Quantization:
    return Quantization(attributes["scale"], attributes["zero_point"])


ELEMENTWISE: dict[str, Callable[[list[Any], Attributes], Any]] = {
    "Add": _fold(lambda a, b: a + b),
    "Sub": _fold(lambda a, b: a - b),
    "Mul": _fold(lambda a, b: a * b),
    "Div": _fold(lambda a, b: a / b),
    "Sum": _fold(lambda a, b: a + b),
    "Max": _fold(maximum),
    "Min": _fold(minimum),
    "Identity": lambda a, _: a[0],
    "Dropout": lambda a, _: a[0],
    "Neg": lambda a, _: like(a[0], 0) - a[0],
    "Abs": lambda a, _: maximum(a[0], like(a[0], 0) - a[0]),
    "Reciprocal": lambda a, _: const(1) / a[0],
    "Sqrt": _intrinsic("sqrt"),
    "Floor": _intrinsic("floor"),
    "Ceil": _intrinsic("ceil"),
    "Relu": lambda a, _: maximum(a[0], like(a[0], 0)),
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Clip": _clip,
    "Sigmoid": lambda a, _: sigmoid(a[0]),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda a, _: a[0] * _hard_sigmoid(a, {"alpha": 1 / 6, "beta": 0.5}),
    "Tanh": lambda a, _: tanh(a[0]),
    "Exp": lambda a, _: exp(a[0]),
    "Erf": lambda a, _: erf(a[0]),
    "Gelu": _gelu,
    "Elu": _elu,
    "Selu": _selu,
    "Softsign": lambda a, _: a[0] / (const(1) + maximum(a[0], const(0) - a[0])),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "ThresholdedRelu": lambda a, t: where(a[0] > like(a[0], t.get("alpha", 1.0)), a[0], like(a[0], 0)),
}
# Of these float16 keeps what its arguments hold; the others divide, take roots or are series.
IN_HALF = frozenset(
    (
        "Add",
        "Sub",
        "Mul",
        "Sum",
        "Max",
        "Min",
        "Identity",
        "Dropout",
        "Neg",
        "Abs",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Clip",
        "HardSigmoid",
        "HardSwish",
        "ThresholdedRelu",
    )
)
