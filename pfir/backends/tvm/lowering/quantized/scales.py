"""Scales of integers folded into what is multiplied anyway, and bounds left out that saturation keeps.

    Quantize(Relu(main * m + (q - z) * r) / s)    becomes    Quantize(main * (m / s) + (q - z) * (r / s))

where the zero point is the least integer. Results are the same but for the rounding of floats.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018, arXiv:1712.05877, sections 2.2 and 2.4; here multipliers stay floats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pfir.backends.tvm.lowering.form import Step
from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE, QUANTIZE

Argument = tuple[str, int | float]
Steps = tuple[Step, ...]
Scalable = Callable[[int], bool]

# c f(x, y, ..) = f(c x, c y, ..) for c > 0, the bounds of a Clip among them.
_IN_ALL = ("Add", "Sub", "Sum", "Max", "Min", "Relu", "LeakyRelu", "Neg", "Abs", "Identity", "Clip")
_IN_FIRST = ("Div", "PRelu")
_BOUNDS = ("min", "max")


def folded(steps: Steps, scalable: Scalable) -> tuple[Steps, dict[int, float]]:
    """The steps with each scale of a QuantizeLinear folded into those before it where that can be, and what operands
    have to be multiplied by for it.

    Args:
        scalable: Whether an operand's numbers can be multiplied by a constant.
    """
    steps, factors = without_bounds(steps), {}
    for place, step in enumerate(steps):
        scale = _attributes(step).get("scale", 1.0)
        if step.op != QUANTIZE or scale == 1.0:
            continue
        found = _Chain(steps, scalable).times(step.arguments[0], 1 / scale)
        if found is not None:
            changed = found.steps | {place: replace(_with(step, scale=1.0), arguments=(found.argument,))}
            steps = tuple(changed.get(i, step) for i, step in enumerate(steps))
            factors |= found.factors
    return steps, factors


def without_bounds(steps: Steps) -> Steps:
    """The steps without a Relu or Clip, or a bound of it, that a QuantizeLinear behind it would saturate at."""
    for step in steps:
        kind, before = step.arguments[0]
        if step.op != QUANTIZE or kind != "step" or _uses(steps)[kind, before] != 1:
            continue
        bound = _bounded(steps[before], step)
        if bound is None:
            return without_bounds(_removed(steps, before))
        if bound != steps[before]:
            return without_bounds((*steps[:before], bound, *steps[before + 1 :]))
    return steps


@dataclass(frozen=True)
class _Multiplied:
    """An argument with another value, the steps that change for it, and the factors of operands."""

    argument: Argument
    steps: dict[int, Step]
    factors: dict[int, float]


class _Chain:
    """Steps of which some are to give multiples of what they give."""

    def __init__(self, steps: Steps, scalable: Scalable) -> None:
        self.steps, self.scalable, self.uses = steps, scalable, _uses(steps)

    def times(self, argument: Argument, factor: float) -> _Multiplied | None:
        """The argument multiplied by a positive factor; None where something else needs it, or it cannot be."""
        kind, value = argument
        if kind == "number":
            return _Multiplied((kind, value * factor), {}, {})
        if self.uses[argument] != 1 or kind == "main":
            return None
        if kind == "operand":
            return _Multiplied(argument, {}, {value: factor}) if self.scalable(value) else None
        return self._step(value, factor)

    def _step(self, place: int, factor: float) -> _Multiplied | None:
        step = self.steps[place]
        if step.op == DEQUANTIZE:
            scaled = _with(step, scale=_attributes(step)["scale"] * factor)
            return _Multiplied(("step", place), {place: scaled}, {})
        for some in _choices(step):
            parts = [self.times(a, factor) if i in some else _same(a) for i, a in enumerate(step.arguments)]
            if all(parts):
                steps = {p: changed for part in parts for p, changed in part.steps.items()}
                bounds = {n: x * factor for n, x in _attributes(step).items() if step.op == "Clip" and n in _BOUNDS}
                steps[place] = replace(_with(step, **bounds), arguments=tuple(part.argument for part in parts))
                factors = {j: f for part in parts for j, f in part.factors.items()}
                return _Multiplied(("step", place), steps, factors)
        return None


def _choices(step: Step) -> tuple[tuple[int, ...], ...]:
    """The arguments that can be multiplied instead of the result."""
    places = tuple(range(len(step.arguments)))
    if step.op in _IN_ALL:
        return (places,)
    if step.op == "Mul":
        return tuple((place,) for place in places)
    return ((0,),) if step.op in _IN_FIRST else ()


def _same(argument: Argument) -> _Multiplied:
    return _Multiplied(argument, {}, {})


def _uses(steps: Steps) -> Counter[Argument]:
    return Counter(argument for step in steps for argument in step.arguments)


def _attributes(step: Step) -> dict[str, Any]:
    return dict(step.attributes)


def _with(step: Step, **attributes: float) -> Step:
    return replace(step, attributes=tuple(sorted((_attributes(step) | attributes).items())))


def _bounded(step: Step, last: Step) -> Step | None:
    """A Relu or Clip without the bounds that `last` saturates at; None without any."""
    given = {"min": 0.0} if step.op == "Relu" else _attributes(step) if step.op == "Clip" else None
    if given is None:
        return step
    said = _attributes(last)
    limits = np.iinfo(said["dtype"])
    within = {name: np.rint(x / said["scale"]) + said["zero_point"] for name, x in given.items() if name in _BOUNDS}
    least, most = within.get("min", limits.min), within.get("max", limits.max)
    left = {name for name in within if (least > limits.min if name == "min" else most < limits.max)}
    if not left:
        return None
    if len(left) == len(within):
        return step
    return replace(step, attributes=tuple((n, x) for n, x in step.attributes if n in left or n not in _BOUNDS))


def _removed(steps: Steps, place: int) -> Steps:
    """The steps without one, whose argument stands in its place."""
    instead = steps[place].arguments[0]

    def moved(argument: Argument) -> Argument:
        kind, value = argument
        if kind != "step" or value < place:
            return argument
        return instead if value == place else (kind, value - 1)

    left = (*steps[:place], *steps[place + 1 :])
    return tuple(replace(step, arguments=tuple(map(moved, step.arguments))) for step in left)
