"""Remove the channels that cannot influence any output: smaller, faster, and the same function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.bias_absorption import bias_dtype
from pfir.ir.constants.dead_channels import find_dead
from pfir.ir.coupling.bodies import every_graph
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.coupling.trace import node_key
from pfir.ir.edit import Names, insert_after, operand, set_input
from pfir.ir.model import Model
from pfir.ir.operators.table import operator_of
from pfir.ir.weights import numbers
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
    graph, node = next((g, n) for g in every_graph(model.graph) for n in g.nodes if node_key(n) == key)
    names, place, dtype = Names(model.graph), operator_of(node).bias, bias_dtype(node)
    if place is None:
        _add_after(graph, names, node, shift.astype(dtype))
        return
    bias = numbers(operand(node, place))
    total = shift if bias is None else bias.astype(np.float64) + shift
    # A bias of its own: the one at hand may be shared with other nodes.
    set_input(node, place, gs.Constant(names.fresh(f"{key}_bias"), total.astype(dtype)))


def _add_after(graph: gs.Graph, names: Names, node: gs.Node, shift: np.ndarray) -> None:
    result = node.outputs[0]
    raw = gs.Variable(names.fresh(f"{result.name}_unshifted"), result.dtype, result.shape)
    node.outputs[0] = raw
    constant = gs.Constant(names.fresh(f"{result.name}_shift"), shift)
    insert_after(graph, node, gs.Node("Add", f"{result.name}_shifted", inputs=[raw, constant], outputs=[result]))
