"""Folding scales into steps changes no integer but by the rounding of floats."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.lowering.form import Step
from pfir.backends.tvm.lowering.quantized.scales import folded, without_bounds

MAIN = ("main", 0)
RNG = np.random.default_rng(0)
OPERANDS = RNG.normal(0, 2, (4, 400))
SUMS = RNG.integers(-4000, 4000, 400).astype(np.float64)


def _operand(i):
    return ("operand", i)


def _step(i):
    return ("step", i)


def _op(op, *arguments, **attributes):
    return Step(op, tuple(sorted(attributes.items())), arguments)


def _quantize(argument, scale=0.04, point=3, dtype="int8"):
    return _op("QuantizeLinear", argument, scale=scale, zero_point=point, dtype=dtype)


def _result(steps, factors=None):
    """What the steps make of sums and operands."""
    values = []

    def value(argument):
        kind, place = argument
        if kind == "operand":
            return OPERANDS[place] * (factors or {}).get(place, 1)
        return {"main": SUMS, "number": place}[kind] if kind != "step" else values[place]

    for step in steps:
        values.append(_FUNCTIONS[step.op]([value(a) for a in step.arguments], dict(step.attributes)))
    return values[-1]


def _rounded(a, s):
    limits = np.iinfo(s["dtype"])
    return np.clip(np.rint(a[0] / s["scale"]) + s["zero_point"], limits.min, limits.max)


_FUNCTIONS = {
    "Add": lambda a, _: sum(a),
    "Mul": lambda a, _: a[0] * a[1],
    "Relu": lambda a, _: np.maximum(a[0], 0),
    "LeakyRelu": lambda a, s: np.where(a[0] < 0, a[0] * s["alpha"], a[0]),
    "Clip": lambda a, s: np.clip(a[0], s.get("min"), s.get("max")),
    "Sigmoid": lambda a, _: 1 / (1 + np.exp(-a[0])),
    "QuantizeLinear": _rounded,
    "DequantizeLinear": lambda a, s: (a[0] - s["zero_point"]) * s["scale"],
}
LAYER = (_op("Mul", MAIN, _operand(0)), _op("Add", _step(0), _operand(1)))
FOLDABLE = {
    "a layer": (*LAYER, _quantize(_step(1))),
    "Relu": (*LAYER, _op("Relu", _step(1)), _quantize(_step(2))),
    "Relu that saturation does": (*LAYER, _op("Relu", _step(1)), _quantize(_step(2), point=-128)),
    "Clip": (*LAYER, _op("Clip", _step(1), min=-1.0, max=2.0), _quantize(_step(2))),
    "LeakyRelu": (*LAYER, _op("LeakyRelu", _step(1), alpha=0.1), _quantize(_step(2))),
    "a factor": (*LAYER, _op("Mul", _step(1), ("number", 3.0)), _quantize(_step(2))),
    "an addend": (*LAYER, _op("Add", _step(1), ("number", 3.0)), _quantize(_step(2))),
    "a sum of integers": (_op("Add", _operand(0), _operand(1)), _quantize(_step(0), 0.03, 130, "uint8")),
    "residual": (
        *LAYER,
        _quantize(_step(1), 0.06),
        _op("DequantizeLinear", _step(2), scale=0.06, zero_point=3),
        _op("Add", _step(3), _operand(2)),
        _op("Relu", _step(4)),
        _quantize(_step(5), 0.05, -128),
    ),
}
FIXED = {
    "a function": (_op("Mul", MAIN, _operand(0)), _op("Sigmoid", _step(0)), _quantize(_step(1), 1 / 256, -128)),
    "a value used twice": (*LAYER, _op("Mul", _step(1), _step(1)), _quantize(_step(2))),
    "a sum that nothing multiplies": (_op("Add", MAIN, _operand(1)), _quantize(_step(0))),
}


def _scales(steps):
    return [dict(step.attributes)["scale"] for step in steps if step.op == "QuantizeLinear"]


@pytest.mark.parametrize("name", FOLDABLE)
def test_every_scale_goes_and_the_integers_stay(name):
    steps = FOLDABLE[name]
    found, factors = folded(steps, lambda operand: True)
    assert set(_scales(found)) == {1.0} and factors
    differs = _result(found, factors) != _result(steps)
    assert differs.mean() < 0.01 and np.abs(_result(found, factors) - _result(steps)).max() <= 1


@pytest.mark.parametrize("name", FIXED)
def test_what_is_no_multiple_keeps_its_scale(name):
    assert folded(FIXED[name], lambda operand: True) == (FIXED[name], {})


@pytest.mark.parametrize("name", FOLDABLE)
def test_operands_of_floats_stay_what_they_are(name):
    found, factors = folded(FOLDABLE[name], lambda operand: False)
    np.testing.assert_array_equal(_result(found, factors), _result(FOLDABLE[name]))
    assert not factors


@pytest.mark.parametrize(
    ("bounds", "point", "left"),
    [
        ({"min": 0.0}, -128, None),
        ({"min": 0.0}, 0, {"min": 0.0}),
        ({"min": 0.0, "max": 6.0}, -128, {"max": 6.0}),
        ({"min": 0.0, "max": 12.0}, -128, None),
        ({"min": -1.0, "max": 6.0}, -128, {"max": 6.0}),
    ],
)
def test_bounds_go_where_saturation_keeps_them(bounds, point, left):
    steps = (_op("Mul", MAIN, _operand(0)), _op("Clip", _step(0), **bounds), _quantize(_step(1), 0.04, point))
    found = without_bounds(steps)
    assert [dict(step.attributes) for step in found if step.op == "Clip"] == ([] if left is None else [left])
    np.testing.assert_array_equal(_result(found), _result(steps))
