"""Rounding each weight to the nearest integer of its grid."""

from __future__ import annotations

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.qdq.integer_layers import Bits


def nearest(model: Model, reference: Model, weight_bits: Bits, context: Context) -> tuple[str, ...]:
    """Leave the integers that lie nearest to the weights, as they were written."""
    del model, reference, weight_bits, context
    return ()
