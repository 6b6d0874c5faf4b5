"""The layers that a user wants to stay as they are: `--keep`, and all others than those of `--only`."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.placement import layers_of


def kept_layers(model: Model, keep: Sequence[str], only: Sequence[str]) -> tuple[str, ...]:
    """The layers of a model whose weights may get few bits, but are to stay float, by name of their node.

    Args:
        model: One of a run, in which nodes of such names may have gone.
        keep, only: As in `Context`.
    """
    if not keep and not only:
        return ()
    copy = model.clone()
    infer_shapes(copy)  # A layer is one only where its input is known to be float.
    kept, free = _named(copy, keep), _named(copy, only)
    return tuple(name for name in layers_of(copy) if name in kept or (only and name not in free))


def _named(model: Model, names: Sequence[str]) -> set[str]:
    return {meant for name in names for meant in names_meant(model.graph, name)}
