"""The weights of a model before and after, layer by layer, and what made them smaller: channels, zeros, bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Files:
    """Bytes of files: the original with its external data, the result, and the result packed, which `--size` counts; of
    the latter those that its graph takes, all but the values of tensors."""

    original_bytes: int
    result_bytes: int
    packed_bytes: int
    graph_bytes: int = 0


@dataclass(frozen=True)
class LayerWeight:
    """The weight of a layer in the file of the original or of the result, before packing.

    Args:
        layer: The name of its node.
        kind: `codebook`, or the type of its numbers.
        size_bytes: That it takes, biases and scales left out.
        values: How many numbers it has.
        zeros: How many of them are zero.
    """

    layer: str
    kind: str
    size_bytes: int
    values: int
    zeros: int


@dataclass(frozen=True)
class Weights:
    """The weights of all layers, before and after."""

    before: tuple[LayerWeight, ...] = ()
    after: tuple[LayerWeight, ...] = ()


@dataclass(frozen=True)
class Steps:
    """Bytes of weights before anything is done and behind each method, in the order in which they are applied.

    Args:
        before: Of the original.
        channels: Of what channels and branches that went leave, each value with all its bits.
        zeros: The same without zeros, where a bit for each place and the other values take less.
        bits: The same with the bits that values have in the result, codebooks with them.
    """

    before: float = 0.0
    channels: float = 0.0
    zeros: float = 0.0
    bits: float = 0.0


def steps_by_layer(weights: Weights) -> dict[str, Steps]:
    """The steps of each layer of the original by its name; of one that is gone nothing is left."""
    after = {each.layer: each for each in weights.after}
    return {each.layer: _steps(each, after.get(each.layer)) for each in weights.before}


def weights_told(weights: Weights, files: Files | None) -> dict[str, object]:
    """What report.json tells: each side by kind and layer, and the bytes behind each method, of all layers and of each.

    Packed are the values of all tensors, biases and scales too, entropy-coded; null where no file was written.
    """
    layers = steps_by_layer(weights)
    total = {f.name: sum(getattr(each, f.name) for each in layers.values()) for f in fields(Steps)}
    packed = None if files is None else files.packed_bytes - files.graph_bytes
    return {
        "before": _kinds(weights.before),
        "after": _kinds(weights.after),
        "steps": _whole(total) | {"packed": packed},
        "steps_by_layer": [{"layer": name, **_whole(asdict(each))} for name, each in layers.items()],
    }


def _steps(before: LayerWeight, after: LayerWeight | None) -> Steps:
    if after is None or not after.values or not before.values:
        return Steps(before.size_bytes)
    width, few = before.size_bytes / before.values, after.size_bytes / after.values
    left = min(width * after.values, float(before.size_bytes))
    sparse, coded = (_without_zeros(after, each) for each in (width, few))
    return Steps(before.size_bytes, left, min(left, sparse), min(left, sparse, coded))


def _without_zeros(weight: LayerWeight, width: float) -> float:
    """Bytes of a weight whose values take so many bytes each: all of them, or a bit for each place and the others."""
    return min(width * weight.values, weight.values / 8 + width * (weight.values - weight.zeros))


def _whole(sizes: Mapping[str, float]) -> dict[str, int]:
    return {name: round(size) for name, size in sizes.items()}


def _kinds(weights: Sequence[LayerWeight]) -> dict[str, object]:
    """Bytes of weights by what they are kept as, and the share of zeros among all; each layer's own beside them."""
    sizes: Counter[str] = Counter()
    for each in weights:
        sizes[each.kind] += each.size_bytes
    share = sum(each.zeros for each in weights) / max(sum(each.values for each in weights), 1)
    return {"bytes": dict(sizes), "zeros": share, "layers": [asdict(each) for each in weights]}
