"""The element-wise nodes at the end of a kernel, as what they ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_graphsurgeon as gs

from pfir.ir.costs.symbolic_cost import is_sized
from pfir.ir.edit import array, operand
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import has_form, operator_of
from pfir.workload import Tail


def tail_of(nodes: Sequence[gs.Node]) -> Tail:
    """The tail of the kernel of these nodes, all but the first of which are element-wise."""
    after = nodes[1:]
    inner = {tensor.name for node in nodes for tensor in node.outputs}
    outer = [t for node in after for t in node.inputs if not t.is_empty() and t.name not in inner]
    constants = [t for t in outer if isinstance(t, gs.Constant) and (array(t) is None or array(t).size > 1)]
    reads = {t.name for t in outer if isinstance(t, gs.Variable)}
    return Tail(_has_bias(nodes[0]), tuple(node.op for node in after), len(reads), len(constants))


def chain_of(nodes: Sequence[gs.Node]) -> Tail:
    """The tail of a kernel of element-wise nodes alone: all of them, and what they read beside the first tensor that is
    as large as the result; the constants are all others of more than one value, whether they are constant or not."""
    inner, shape = {tensor.name for node in nodes for tensor in node.outputs}, list(nodes[-1].outputs[0].shape or ())
    read = (t for node in nodes for t in node.inputs if not t.is_empty() and is_sized(t))
    outer = {t.name: t for t in read if t.name not in inner}
    large = [name for name, tensor in outer.items() if list(tensor.shape) == shape]
    others = [t for name, t in outer.items() if name not in large and prod(t.shape) > 1]
    return Tail(False, tuple(node.op for node in nodes), max(0, len(large) - 1), len(others))


def _has_bias(node: gs.Node) -> bool:
    """Whether a layer adds a bias that is not zero."""
    if not has_form(node, Form.CONVOLUTION, Form.TRANSPOSED_CONVOLUTION, Form.GEMM):
        return False
    place = operator_of(node).bias
    bias = None if place is None else operand(node, place)
    if bias is None:
        return False
    values = array(bias)
    return values is None or bool(values.any())
