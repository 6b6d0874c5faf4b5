"""Constant channels that go into the bodies of If, Loop and Scan, through them and out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.known_constants import KnownConstants, Values
from pfir.ir.coupling.analysis import ordered

_MOST_ROUNDS = 8


def _branches(known: KnownConstants, node: gs.Node) -> None:
    """Note of each result what both branches of an If agree on."""
    bodies = [node.attrs["then_branch"], node.attrs["else_branch"]]
    for body in bodies:
        _run(known, body)
    for tensor, made in zip(node.outputs, zip(*(body.outputs for body in bodies), strict=True), strict=True):
        for axis in _axes(known, tensor):
            known.note((tensor.name, axis), _agreed([known.along(t, axis) for t in made]))


def _loop(known: KnownConstants, node: gs.Node) -> None:
    body, count = node.attrs["body"], len(node.inputs) - 2
    _repeat(known, body, node.inputs[2:], body.inputs[2:], body.outputs[1 : count + 1], node.outputs[:count])
    for tensor, result in zip(node.outputs[count:], body.outputs[count + 1 :], strict=True):
        _stack(known, tensor, result, 0)


def _scan(known: KnownConstants, node: gs.Node) -> None:
    body, count = node.attrs["body"], len(node.inputs) - node.attrs["num_scan_inputs"]
    along = node.attrs.get("scan_input_axes") or [0] * (len(node.inputs) - count)
    for tensor, part, place in zip(node.inputs[count:], body.inputs[count:], along, strict=True):
        place %= len(known.trace.shapes[tensor.name])
        for axis in _axes(known, part):
            known.note((part.name, axis), known.along(tensor, axis + (axis >= place)))
    _repeat(known, body, node.inputs[:count], body.inputs[:count], body.outputs[:count], node.outputs[:count])
    axes = node.attrs.get("scan_output_axes") or [0] * (len(node.outputs) - count)
    for tensor, result, place in zip(node.outputs[count:], body.outputs[count:], axes, strict=True):
        _stack(known, tensor, result, place)


def _repeat(
    known: KnownConstants, body: gs.Graph, given: Sequence, states: Sequence, results: Sequence, outputs
) -> None:
    """Find the states that a run of the body leaves as they were: these are constants all the time."""
    sites = [(i, axis) for i, state in enumerate(states) for axis in _axes(known, state)]
    values = {site: known.along(given[site[0]], site[1]) for site in sites}
    for rest in reversed(range(_MOST_ROUNDS)):
        for i, axis in sites:
            known.note((states[i].name, axis), values[i, axis])
        _run(known, body)
        found = {(i, a): _agreed([values[i, a], known.along(results[i], a)]) for i, a in sites}
        if all(_equal(found[site], values[site]) for site in sites):
            break
        # Each time fewer; at last nothing is taken for granted.
        values = found if rest > 1 else dict.fromkeys(sites)
    for i, tensor in enumerate(outputs):
        for axis in _axes(known, tensor):
            known.note((tensor.name, axis), values.get((i, axis)))


def _stack(known: KnownConstants, tensor: gs.Tensor, result: gs.Tensor, place: int) -> None:
    """Note what the results of all runs are, which are stacked along a new axis."""
    place %= len(known.trace.axes.get(tensor.name) or [None])
    for axis in _axes(known, tensor):
        known.note((tensor.name, axis), known.along(result, axis - (axis > place)))


def _run(known: KnownConstants, body: gs.Graph) -> None:
    for node in ordered(body):
        known.visit(node)


def _axes(known: KnownConstants, tensor: gs.Tensor) -> list[int]:
    """The axes that have labels."""
    return [axis for axis, labels in enumerate(known.trace.axes.get(tensor.name, ())) if labels is not None]


def _agreed(parts: Sequence[Values | None]) -> Values | None:
    if any(p is None for p in parts):
        return None
    one, other = np.broadcast_arrays(*parts) if len({p.shape for p in parts}) == 1 else (np.nan, np.nan)
    return np.where(one == other, one, np.nan)


def _equal(one: Values | None, other: Values | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other, equal_nan=True)


BODIES: dict[str, Callable[[KnownConstants, gs.Node], None]] = {"If": _branches, "Loop": _loop, "Scan": _scan}
