"""Whether a model is whole: edges, names, order, shapes, finite weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import FrontendError, VerifyError
from pfir.ir.checking.layer_checks import layer_fault
from pfir.ir.checking.onnx_checks import form_fault, infer
from pfir.ir.checking.weightless import weightless_of
from pfir.ir.model import Model
from pfir.ir.operators.records import ONNX, Form
from pfir.ir.operators.table import OPERATORS

# Where an infinite value can only be a damaged weight; elsewhere it may be meant (the mask of an attention, a bound).
_WEIGHTED = frozenset(
    o.name
    for o in OPERATORS
    if ONNX in o.domains and not o.integers and (o.weights or o.factors or o.form is Form.EINSUM)
)


def verify_model(model: Model, quick: bool = False) -> None:
    """The model is well-formed, as every pass must leave it.

    Args:
        model: It is not changed.
        quick: Only edges, names and order; without onnx.checker and strict shape inference, which take longer.

    Raises:
        VerifyError: It is not; the text names the node or the value.
    """
    _check_graph(model.graph, {})
    if not quick:
        _check_with_onnx(model)


def check_finite(model: Model) -> None:
    """No weight is NaN, and none that scales channels is infinite: call it before ranking or scaling by weights.

    Raises:
        FrontendError: One is; the tensor and its first such place are named.
    """
    for node, tensor in _float_constants(model.graph):
        bad = np.isnan(tensor.values) if node.op not in _WEIGHTED else ~np.isfinite(tensor.values)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            value = tensor.values[place]
            raise FrontendError(
                f"weight {tensor.name!r} of node {node.name!r} is {value} at {list(place)}; weights must be finite"
            )


def _float_constants(graph: gs.Graph) -> Iterator[tuple[gs.Node, gs.Constant]]:
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and np.dtype(tensor.dtype).kind == "f":
                yield node, tensor
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield from _float_constants(value)
            elif isinstance(value, gs.Constant) and np.dtype(value.dtype).kind == "f":
                yield node, value


def _check_graph(graph: gs.Graph, outer: dict[str, gs.Tensor]) -> None:
    known = dict(outer)
    for tensor in graph.inputs:
        _add(known, tensor, f"input {tensor.name!r}", outer)
    names: set[str] = set()
    _check_users(graph)
    for node in graph.nodes:
        _check_name(node, names)
        for tensor in node.inputs:
            _check_use(node, tensor, known)
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                _check_graph(value, known)
        for tensor in node.outputs:
            if tensor.name:
                _check_make(node, tensor)
                _add(known, tensor, _shown(node), outer)
    for tensor in graph.outputs:
        if not isinstance(tensor, gs.Constant) and known.get(tensor.name) is not tensor:
            raise VerifyError(f"the graph's output {tensor.name!r} is made by no node")


def _add(known: dict[str, gs.Tensor], tensor: gs.Tensor, where: str, outer: dict[str, gs.Tensor]) -> None:
    """A value becomes known; a body may reuse a name of the graph around it, nothing else may."""
    if tensor.name in known and known[tensor.name] is not outer.get(tensor.name):
        raise VerifyError(f"the value {tensor.name!r} of {where} is made a second time")
    known[tensor.name] = tensor


def _check_name(node: gs.Node, names: set[str]) -> None:
    if not node.name:
        raise VerifyError(f"a {node.op} node that makes {[t.name for t in node.outputs]} has no name")
    if node.name in names:
        raise VerifyError(f"two nodes are named {node.name!r}")
    names.add(node.name)


def _check_use(node: gs.Node, tensor: gs.Tensor, known: dict[str, gs.Tensor]) -> None:
    if not tensor.name:
        return
    if isinstance(tensor, gs.Constant):
        _check_constant(node, tensor, known)
    elif known.get(tensor.name) is not tensor:
        reason = "has another tensor of that name" if tensor.name in known else "is not made before it"
        raise VerifyError(f"input {tensor.name!r} of {_shown(node)} {reason}")


def _check_users(graph: gs.Graph) -> None:
    """Every tensor knows the nodes that use it."""
    users: dict[int, set[int]] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            if id(tensor) not in users:
                users[id(tensor)] = {id(user) for user in tensor.outputs}
            if id(node) not in users[id(tensor)]:
                raise VerifyError(f"value {tensor.name!r} does not know that {_shown(node)} uses it")


def _check_constant(node: gs.Node, tensor: gs.Constant, known: dict[str, gs.Tensor]) -> None:
    if known.setdefault(tensor.name, tensor) is not tensor:
        raise VerifyError(f"constant {tensor.name!r} of {_shown(node)} shares its name with another tensor")
    if tensor.inputs:
        raise VerifyError(f"constant {tensor.name!r} of {_shown(node)} is made by a node as well")


def _check_make(node: gs.Node, tensor: gs.Tensor) -> None:
    if isinstance(tensor, gs.Constant):
        raise VerifyError(f"{_shown(node)} makes {tensor.name!r}, which is a constant")
    if len(tensor.inputs) != 1 or tensor.inputs[0] is not node:
        raise VerifyError(f"value {tensor.name!r} of {_shown(node)} has {len(tensor.inputs)} makers")


def _shown(node: gs.Node) -> str:
    return f"{node.op} {node.name!r}"


def _check_with_onnx(model: Model) -> None:
    light = weightless_of(model.to_proto())
    fault = form_fault(light)
    if fault is None and model.consistent:
        inferred, fault = infer(light)
        fault = fault or layer_fault(inferred)
    if fault is not None:
        raise VerifyError(f"model {model.name!r} is not valid: {fault}")
