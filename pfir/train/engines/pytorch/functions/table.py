"""Every operator that training with PyTorch knows, and what of them it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs

from pfir.train.canonical.resize import separable
from pfir.train.engines.pytorch.functions import (
    activations,
    arithmetic,
    layers,
    losses,
    normalization,
    pooling,
    recurrent,
    reductions,
    resize,
    selection,
    shapes,
)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **activations.FUNCTIONS,
    **arithmetic.FUNCTIONS,
    **layers.FUNCTIONS,
    **losses.FUNCTIONS,
    **normalization.FUNCTIONS,
    **pooling.FUNCTIONS,
    **recurrent.FUNCTIONS,
    **reductions.FUNCTIONS,
    **resize.FUNCTIONS,
    **selection.FUNCTIONS,
    **shapes.FUNCTIONS,
}

READING = frozenset({"Clip", *reductions.FUNCTIONS, *resize.FUNCTIONS, *shapes.FUNCTIONS}) - {"Concat"}
"""Operators that read numbers such as sizes, axes or bounds from inputs, which therefore stay on the CPU."""

FLAT = frozenset({"Floor", "Ceil", "Sign"})
"""Their gradient is zero wherever they have one, so nothing can be learnt through them."""

_MODES = ("constant", "reflect", "edge")


def refusal(node: gs.Node, learning: bool) -> str | None:
    """Why this node cannot be trained through, or not be computed; None where it can.

    Args:
        learning: Whether a gradient has to pass through it.
    """
    if node.domain not in (None, "", "ai.onnx") or node.op not in FUNCTIONS:
        return "training with PyTorch does not know it"
    if learning and node.op in FLAT:
        return "its gradient is zero everywhere"
    refuse = _REFUSALS.get(node.op)
    return refuse(node) if refuse else None


def _recurrent(node: gs.Node) -> str | None:
    if len(node.inputs) > 4 and node.inputs[4].name:
        return "sequence_lens has no gradient"
    unusual = [name for name in ("activations", "clip", "input_forget", "layout") if node.attrs.get(name)]
    unusual += ["P"] if len(node.inputs) > 7 and node.inputs[7].name else []
    return f"{unusual[0]} is not known to training with PyTorch" if unusual else None


def _pad(node: gs.Node) -> str | None:
    mode = node.attrs.get("mode", "constant")
    return None if mode in _MODES else f"its mode {mode} is not known to training with PyTorch"


def _resize(node: gs.Node) -> str | None:
    return None if separable(node) else "its mode or region is none that works axis by axis"


def _dropout(node: gs.Node) -> str | None:
    read = len(node.outputs) > 1 and node.outputs[1].outputs
    return "its mask is read" if read else None


def _dilated(node: gs.Node) -> str | None:
    return "its windows are dilated" if any(d != 1 for d in node.attrs.get("dilations") or ()) else None


def _batched(node: gs.Node) -> str | None:
    return "it has axes of a batch" if node.attrs.get("batch_dims", 0) else None


def _scattered(node: gs.Node) -> str | None:
    reduction = node.attrs.get("reduction", "none")
    return None if reduction in ("none", "add") else f"its reduction {reduction} is not known to training with PyTorch"


def _indices(node: gs.Node) -> str | None:
    read = len(node.outputs) > 1 and node.outputs[1].outputs
    return "its indices are read" if read else None


_REFUSALS: dict[str, Callable[[gs.Node], str | None]] = {
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "Pad": _pad,
    "Resize": _resize,
    "Dropout": _dropout,
    "AveragePool": _dilated,
    "MaxPool": _indices,
    "GatherND": _batched,
    "ScatterElements": _scattered,
    "ScatterND": _scattered,
}
