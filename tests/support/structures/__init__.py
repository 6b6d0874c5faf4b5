"""Small networks of many structure families, made from a seed: what the laws of channel coupling are tested on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pfir.ir.model import Model
from tests.support.net import Net
from tests.support.structures import (
    attention,
    bodies,
    convolutions,
    layouts,
    mixing,
    operators,
    quantized,
    recurrent,
    sharing,
    weights,
)

Structure = Callable[[Net], tuple[str, ...]]

_SETTINGS = {
    "attention": {"opset": 17},
    "fused_attention": {"opset": 17},
    "one_bias_of_a_transformer": {"opset": 17},
    "folded_columns": {"opset": 18},
    "group_norm": {"opset": 21},
    "sampled": {"opset": 16},
    "by_index": {"opset": 16},
    "upsample_opset9": {"opset": 9},
    "old_slice_split": {"opset": 9},
    "uneven_split": {"opset": 18},
}
_ROOMS = (convolutions, layouts, mixing, weights, attention, recurrent, bodies, operators, quantized, sharing)

FAMILIES: dict[str, tuple[Structure, dict]] = {
    f.__name__: (f, _SETTINGS.get(f.__name__, {})) for workspace in _ROOMS for f in workspace.FAMILIES
}
FAMILIES |= {
    "half_precision": (convolutions.chain, {"dtype": np.float16}),
    "double_precision": (mixing.einsum, {"dtype": np.float64}),
}


def build(name: str, seed: int) -> Model:
    """A member of a structure family."""
    structure, settings = FAMILIES[name]
    net = Net(seed, **settings)
    return net.model(structure(net))
