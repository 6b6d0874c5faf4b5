"""Remove the channels that cannot influence any output: smaller, faster, and the same function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.channels import channel_groups, remove_channels
from pfir.ir.dead import find_dead
from pfir.ir.model import Model
from pfir.ir.rules.trace import node_key
from pfir.passes.base import Change, Context, Pass

_MOST_ROUNDS = 100


@dataclass(frozen=True)
class RemoveDeadChannels(Pass):
    """Remove channels that nothing reads, and constant ones, whose effect moves into biases; outputs stay.

    Rewrite of a channel c that is always v, read by a consumer with weights W and bias b::

        y = W x + b,  x[c] = v
            ->
        y = W' x' + (b + W[:, c] v),  x' without c

    A constant that is not zero is folded only where that is exact: not behind padding with zeros. It goes on until
    nothing more is dead, so a second run changes nothing. One channel of a group stays even if all are dead.
    """

    name: ClassVar[str] = "remove-dead-channels"

    def apply(self, model: Model, context: Context) -> Change:
        gone = 0
        for _ in range(_MOST_ROUNDS):
            found = sum(_remove(model, context, within_heads) for within_heads in (False, True))
            if not found:
                break
            gone += found
        return Change(gone > 0, (f"{gone} dead channels removed",) if gone else ())


def _remove(model: Model, context: Context, within_heads: bool) -> int:
    """One round; how many channels it removed."""
    coupling = channel_groups(model, context.keep, context.only, within_heads)
    dead = find_dead(model, coupling)
    if dead.removed:
        remove_channels(model, coupling, dead.removed)
        for key, shift in dead.shifts.items():
            _add_to_bias(model, key, shift)
    return sum(channels.size for channels in dead.removed.values())


def _add_to_bias(model: Model, key: str, shift: np.ndarray) -> None:
    node = next(n for n in model.graph.nodes if node_key(n) == key)
    shift = shift.astype(node.inputs[1].values.dtype)
    if node.op == "MatMul":
        _add_after(model, node, shift)
        return
    if node.op == "Gemm":
        shift = shift / shift.dtype.type(node.attrs.get("beta", 1.0))
    has_bias = len(node.inputs) > 2 and node.inputs[2].name
    # A bias of its own: the one at hand may be shared with other nodes.
    bias = _constant(model, f"{key}_bias", node.inputs[2].values + shift if has_bias else shift)
    if len(node.inputs) > 2:
        node.inputs[2] = bias
    else:
        node.inputs.append(bias)


def _add_after(model: Model, node: gs.Node, shift: np.ndarray) -> None:
    result = node.outputs[0]
    raw = gs.Variable(_fresh(model, f"{result.name}_unshifted"), result.dtype, result.shape)
    node.outputs[0] = raw
    constant = _constant(model, f"{result.name}_shift", shift)
    add = gs.Node("Add", f"{result.name}_shifted", inputs=[raw, constant], outputs=[result])
    model.graph.nodes.insert(model.graph.nodes.index(node) + 1, add)


def _constant(model: Model, name: str, values: np.ndarray) -> gs.Constant:
    return gs.Constant(_fresh(model, name), values)


def _fresh(model: Model, name: str) -> str:
    taken = model.graph.tensors()
    count, candidate = 1, name
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate
