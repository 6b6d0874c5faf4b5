"""What each input of a model holds, as far as the model itself tells: declared, or learned from its first layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import TensorSpec
from pfir.compile.calibration.range_fit import inputs_of_norm
from pfir.data.generated import Range, channel_axis
from pfir.ir.edit import array, is_op, operand
from pfir.ir.model import Model

NOMINAL = {
    "NominalRange_0_255": (0.0, 255.0),
    "Normalized_0_1": (0.0, 1.0),
    "Normalized_1_1": (-1.0, 1.0),
    "NominalRange_16_235": (16.0, 235.0),
}
"""Values of ONNX's metadata key `Image.NominalPixelRange` (onnx, docs/MetadataProps.md)."""
SPREAD = 0.25
"""Standard deviation of a value known by its bounds alone, as a share of their distance; images lie near that."""
MOST_STEPS = 64
_MOVES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Slice", "Concat")


@dataclass(frozen=True)
class Clue:
    """What is known of one input, and from what."""

    range: Range
    source: str


@dataclass(frozen=True)
class _Place:
    """A tensor on the way from an input: `scale` times the input plus `shift`.

    Args:
        order: Its axis i is axis order[i] of the input.
        scale, shift: float64, of as many axes as the tensor or of none.
        bounds: What the input cannot leave, where a Clip or a quantisation follows it.
        steps: Names of the nodes that scaled or shifted.
    """

    tensor: gs.Tensor
    order: tuple[int, ...]
    scale: np.ndarray
    shift: np.ndarray
    bounds: tuple[float, float] = (-np.inf, np.inf)
    steps: tuple[str, ...] = ()


def learn_ranges(original: Model, inputs: Sequence[TensorSpec]) -> tuple[dict[str, Range], tuple[str, ...]]:
    """The range of each input by name, and one sentence on each that says where it comes from.

    Args:
        original: As loaded: folding BatchNormalization away would lose what it knows.
        inputs: Every size fixed.
    """
    clues = {spec.name: _clue(original, spec) for spec in inputs}
    notes = tuple(_said(spec, clues[spec.name]) for spec in inputs)
    return {name: clue.range for name, clue in clues.items() if clue is not None}, notes


def _clue(model: Model, spec: TensorSpec) -> Clue | None:
    tensor = next((t for t in model.graph.inputs if t.name == spec.name), None)
    if tensor is None or np.dtype(spec.dtype).kind not in "fiu":
        return None
    if np.dtype(spec.dtype).kind in "iu" and (ids := _ids(tensor)) is not None:
        return ids
    declared = _declared(model, spec)
    low, high = (declared.range.low, declared.range.high) if declared else (-np.inf, np.inf)
    places = list(_places(tensor, len(spec.shape)))
    found = _from_norms(places, spec)
    if found is not None:
        return Clue(replace(found.range, low=low, high=high, ids=False), found.source)
    return declared or _from_bounds(places) or _from_steps(places, spec)


def _declared(model: Model, spec: TensorSpec) -> Clue | None:
    """What the data type of eight bits, or the metadata of a model of images, says."""
    if spec.dtype in ("uint8", "int8"):
        limits = np.iinfo(spec.dtype)
        return Clue(_between(float(limits.min), float(limits.max)), f"its type {spec.dtype}")
    properties = model.header.metadata_props if model.header is not None else ()
    nominal = next((NOMINAL.get(p.value) for p in properties if p.key == "Image.NominalPixelRange"), None)
    if nominal is None or len(spec.shape) != 4:
        return None
    return Clue(_between(*nominal), "the model's metadata Image.NominalPixelRange")


def _between(low: float, high: float) -> Range:
    return Range(((low + high) / 2,), (SPREAD * (high - low),), low, high, ids=False)


def _ids(tensor: gs.Tensor) -> Clue | None:
    """The rows of the tables that an integer input picks from."""
    waiting, seen, rows = [tensor], set(), []
    while waiting and len(seen) < MOST_STEPS:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        for node in current.outputs:
            table = array(node.inputs[0]) if is_op(node, "Gather") and len(node.inputs) > 1 else None
            if table is not None and node.inputs[1] is current:
                rows.append((table.shape[node.attrs.get("axis", 0)], node.name))
            elif is_op(node, *_MOVES) and node.inputs[0] is current:
                waiting += node.outputs
    if not rows:
        return None
    count, name = min(rows)
    return Clue(Range(low=0, high=max(count - 1, 0)), f"the {count} rows that {name} picks from")


def _places(tensor: gs.Tensor, rank: int) -> Iterator[_Place]:
    """The input and every tensor that follows from it by steps that only scale, shift, bound or transpose."""
    waiting = [_Place(tensor, tuple(range(rank)), np.float64(1), np.float64(0))]
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        place = waiting.pop(0)
        yield place
        following = (_step(place, node) for node in place.tensor.outputs)
        waiting += [p for p in following if p is not None]


def _step(place: _Place, node: gs.Node) -> _Place | None:
    """The place behind a node; None where the node does more than scale, shift, bound or transpose."""
    if not node.outputs or not is_op(node, *_STEPS):
        return None
    return _STEPS[node.op](replace(place, tensor=node.outputs[0]), node, place.tensor)


def _same(place: _Place, node: gs.Node, source: gs.Tensor) -> _Place | None:
    return place if node.inputs[0] is source else None


def _transposed(place: _Place, node: gs.Node, source: gs.Tensor) -> _Place:
    permutation = [int(i) for i in node.attrs.get("perm", range(len(place.order))[::-1])]
    scale, shift = (v if v.ndim == 0 else v.transpose(permutation) for v in (place.scale, place.shift))
    return replace(place, order=tuple(place.order[i] for i in permutation), scale=scale, shift=shift)


def _arithmetic(place: _Place, node: gs.Node, source: gs.Tensor) -> _Place | None:
    left = node.inputs[0] is source
    value = array(node.inputs[1 if left else 0])
    if value is None or value.ndim > len(place.order):
        return None
    missing = len(place.order) - value.ndim
    value = value.astype(np.float64).reshape(() if value.size == 1 else (1,) * missing + value.shape)
    scale, shift = place.scale, place.shift
    if node.op == "Add":
        shift = shift + value
    elif node.op == "Sub":
        scale, shift = (scale, shift - value) if left else (-scale, value - shift)
    elif node.op == "Mul":
        scale, shift = scale * value, shift * value
    elif left and value.all():
        scale, shift = scale / value, shift / value
    else:
        return None
    # 0 + per-channel leaves a scalar scale beside a shift of full rank: either form is as good.
    return replace(place, scale=np.asarray(scale), shift=np.asarray(shift), steps=(*place.steps, node.name))


def _clipped(place: _Place, node: gs.Node, source: gs.Tensor) -> _Place | None:
    low, high = (array(operand(node, i)) for i in (1, 2))
    low = node.attrs.get("min") if low is None else low
    high = node.attrs.get("max") if high is None else high
    if node.inputs[0] is not source or low is None or high is None:
        return None
    return _bounded(place, float(np.ravel(low)[0]), float(np.ravel(high)[0]), node)


def _quantised(place: _Place, node: gs.Node, source: gs.Tensor) -> _Place | None:
    """What eight bits can hold; the DequantizeLinear behind it gives the same values back."""
    scale, zero = array(operand(node, 1)), array(operand(node, 2))
    if node.inputs[0] is not source or scale is None or scale.size != 1:
        return None
    zero = np.zeros((), np.uint8) if zero is None else zero
    if zero.dtype not in (np.uint8, np.int8):
        return None
    limits, z = np.iinfo(zero.dtype), float(zero.ravel()[0])
    return _bounded(place, *((end - z) * float(scale.ravel()[0]) for end in (limits.min, limits.max)), node)


def _bounded(place: _Place, low: float, high: float, node: gs.Node) -> _Place | None:
    """Bounds of the scaled values are bounds of the input, where one scale holds for all channels."""
    if place.scale.size != 1 or place.shift.size != 1 or not float(place.scale.ravel()[0]):
        return place
    scale, shift = float(place.scale.ravel()[0]), float(place.shift.ravel()[0])
    ends = sorted(((low - shift) / scale, (high - shift) / scale))
    return replace(place, bounds=(ends[0], ends[1]), steps=(*place.steps, node.name))


_STEPS = {
    "Cast": _same,
    "Identity": _same,
    "Dropout": _same,
    "DequantizeLinear": _same,
    "Transpose": _transposed,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Clip": _clipped,
    "QuantizeLinear": _quantised,
}


def _from_norms(places: Sequence[_Place], spec: TensorSpec) -> Clue | None:
    """What the first BatchNormalization tells, at the input itself or behind the first layer."""
    for place in places:
        if len(place.order) < 2:
            return None
        for node in place.tensor.outputs:
            moments = inputs_of_norm(node, place.tensor, spec, place.order)
            unscaled = None if moments is None else _unscaled(place, *moments[:2])
            if unscaled is not None:
                return Clue(_per_channel(place, spec, *unscaled), f"the statistics of {moments[2]}")
    return None


def _unscaled(place: _Place, mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The moments of the input that these moments [C] behind scale and shift stand for.

    None where scale or shift differ along other axes.
    """
    for values in (place.scale, place.shift):
        if values.size not in (1, mean.size) or (values.size > 1 and values.shape[1] != values.size):
            return None
    scale, shift = place.scale.ravel(), place.shift.ravel()
    if not scale.all():
        return None
    return (mean - shift) / scale, std / np.abs(scale)


def _per_channel(place: _Place, spec: TensorSpec, mean: np.ndarray, std: np.ndarray) -> Range:
    """The range of each channel where the generator has these channels too, else one range for all."""
    axis = channel_axis(tuple(spec.shape[1:]))
    if axis is not None and place.order[1] == axis + 1:
        return Range(tuple(mean), tuple(std))
    return Range((float(mean.mean()),), (float(np.sqrt((std**2 + mean**2).mean() - mean.mean() ** 2)),))


def _from_bounds(places: Sequence[_Place]) -> Clue | None:
    bounded = next((p for p in places if np.isfinite(p.bounds).all() and p.bounds[0] < p.bounds[1]), None)
    return None if bounded is None else Clue(_between(*bounded.bounds), f"the bounds that {bounded.steps[-1]} sets")


def _from_steps(places: Sequence[_Place], spec: TensorSpec) -> Clue | None:
    """What a model that scales its input first must be given, to get what networks expect.

    They expect [0, 1], [-1, 1], or mean 0 and deviation 1.
    """
    last = next((p for p in reversed(places) if p.steps), None)
    if last is None or not last.scale.all() or len(last.order) < 2:
        return None
    channels = max(last.scale.size, last.shift.size)
    low = -1.0 if np.allclose(last.shift, -1.0, atol=0.02) else 0.0
    mean, std = np.zeros(channels), np.ones(channels)
    if not last.shift.any() or low < 0:
        mean, std = np.full(channels, (low + 1) / 2), np.full(channels, SPREAD * (1 - low))
    unscaled = _unscaled(last, mean, std)
    return None if unscaled is None else Clue(_per_channel(last, spec, *unscaled), f"what {last.steps[-1]} makes of it")


def _said(spec: TensorSpec, clue: Clue | None) -> str:
    kind = np.dtype(spec.dtype).kind
    if clue is None:
        drawn = "have mean 0 and standard deviation 1" if kind == "f" else "are drawn from 0 and 1"
        return f"The model does not tell the range of its input {spec.name}: generated values {drawn}."
    found = clue.range
    if found.ids and kind in "iu":
        drawn = f"ids from {found.low:.0f} to {found.high:.0f}"
    else:
        mean, std = (", ".join(f"{v:.3g}" for v in values[:4]) for values in (found.mean, found.std))
        drawn = f"values of mean {mean} and standard deviation {std}"
    return f"Input {spec.name} gets generated {drawn}, after {clue.source}."
