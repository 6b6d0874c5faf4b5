"""What a way of rounding weights is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.qdq.integer_layers import Bits

Rounding = Callable[[Model, Model, Bits, Context], tuple[str, ...]]
"""Chooses the integers of a quantized model's weights anew, in place: the nodes of the layers where it did.

It is given the model as it is written, with the integers nearest to the weights; the float model that was quantized, of
which nodes and tensors that both have bear the same names; the bits of a weight; and the context, whose `activations`
are there.
"""
