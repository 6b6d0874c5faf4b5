"""Sizes that a model declares: what would exhaust memory, time or the stack is refused before it is used."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto

from pfir.errors import FrontendError
from pfir.ir.onnx_io import walk
from pfir.ir.onnx_io.tensors import check_size, to_array

MOST_TRIPS = 1_000_000
MOST_EXPANDED_NODES = 200_000
DEEPEST_CALLS = 64
MOST_AXES = 64
"""Of a tensor, as numpy has it. onnx's inference reads memory at the axis that an attribute names."""
_AXES = frozenset(
    ("axis", "axes", "batch_axis", "time_axis", "batch_dims", "perm", "scan_input_axes", "scan_output_axes")
)
# ONNX Runtime 1.19.2 takes twice as long with each further level, 1.3 s for 16 nested Ifs and hours for 30.
DEEPEST_BODIES = 16
# What exporters write for "until the condition ends it".
_ENDLESS = frozenset((2**63 - 1, 2**31 - 1, 2**31 - 2))

_Scope = ChainMap[str, TensorProto]
_Key = tuple[str, str, str]


def check_sizes(model: ModelProto) -> None:
    """Every declared tensor is below 4 GiB and has no negative size.

    -1 as the size of an input, output or inner tensor is taken as unknown, as ONNX Runtime does.

    Raises:
        FrontendError: One is not so; the tensor is named.
    """
    for tensor in walk.tensors(model):
        _check_tensor(tensor)
    for body in walk.graphs(model):
        for value in _values(body):
            check_value(value)


def _check_tensor(tensor: TensorProto | SparseTensorProto) -> None:
    if isinstance(tensor, SparseTensorProto):
        check_size(f"sparse tensor {tensor.values.name!r}", tensor.values.data_type, tuple(tensor.dims))
        _check_tensor(tensor.values)
        _check_tensor(tensor.indices)
    else:
        check_size(f"tensor {tensor.name!r}", tensor.data_type, tuple(tensor.dims))


def check_axes(model: ModelProto) -> None:
    """No attribute names an axis that no tensor has, and no Split tells of outputs that it has not.

    Raises:
        FrontendError: One does; the node is named.
    """
    for node in (node for body in walk.graphs(model) for node in body.node):
        for attribute in node.attribute:
            if node.op_type == "Split" and attribute.name == "num_outputs" and attribute.i > max(len(node.output), 1):
                raise FrontendError(f"Split {node.name!r}: num_outputs is {attribute.i}; it has {len(node.output)}")
            named = (attribute.i, *attribute.ints) if attribute.name in _AXES else ()
            if (far := next((axis for axis in named if abs(axis) > MOST_AXES), None)) is not None:
                raise FrontendError(
                    f"{node.op_type} {node.name!r}: {attribute.name} {far} is none; no tensor has more than {MOST_AXES}"
                )


def _values(body: walk.Body) -> Iterator[ValueInfoProto]:
    if isinstance(body, GraphProto):
        yield from body.input
        yield from body.output
    yield from body.value_info


def check_value(value: ValueInfoProto) -> None:
    """The declared shape of one value, where all its sizes are known."""
    kind = value.type.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return
    tensor = getattr(value.type, kind)
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value != -1 else 1 for d in tensor.shape.dim]
    if tensor.elem_type:
        check_size(f"value {value.name!r}", tensor.elem_type, tuple(dims))


def check_nesting(model: ModelProto) -> None:
    """Graphs lie within graphs at most 16 deep.

    Raises:
        FrontendError: They lie deeper; the outermost node is named.
    """
    for node in (n for body in (model.graph, *model.functions) for n in body.node):
        level, depth = [node], 0
        while level := [inner for n in level for body in walk.bodies(n) for inner in body.node]:
            depth += 1
            if depth > DEEPEST_BODIES:
                raise FrontendError(f"{node.op_type} {node.name!r} is nested too deeply, above {DEEPEST_BODIES} levels")


def check_calls(model: ModelProto) -> None:
    """Local functions call each other without recursion, at most 64 deep, and stand for at most a million nodes.

    Raises:
        FrontendError: They do not; a function is named.
    """
    functions = {_key(f): f for f in model.functions}
    calls = {key: [c for n in walk.nodes_within(f) if (c := _called(n)) in functions] for key, f in functions.items()}
    own = {key: sum(1 for _ in walk.nodes_within(f)) for key, f in functions.items()}
    depth: dict[_Key, int] = {}
    size: dict[_Key, int] = {}
    for key in _callees_first(calls):
        depth[key] = 1 + max((depth[c] for c in calls[key]), default=0)
        size[key] = own[key] + sum(size[c] for c in calls[key])
        if depth[key] > DEEPEST_CALLS:
            raise FrontendError(f"local function {key[1]!r} calls others more than {DEEPEST_CALLS} deep")
        _check_expanded(size[key], f"local function {key[1]!r}")
    _check_expanded(sum(size.get(_called(n), 1) for n in walk.nodes_within(model.graph)), "the model")


def _check_expanded(nodes: int, what: str) -> None:
    if nodes > MOST_EXPANDED_NODES:
        limit = f"the limit is {MOST_EXPANDED_NODES:,}"
        raise FrontendError(f"{what} stands for {nodes:.3g} nodes, its function calls expanded; {limit}")


def _key(function: FunctionProto) -> _Key:
    return function.domain, function.name, function.overload


def _called(node: NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload


def _callees_first(calls: dict[_Key, list[_Key]]) -> list[_Key]:
    """The functions in an order in which each stands after those it calls."""
    waiting = {key: set(called) for key, called in calls.items()}
    callers: dict[_Key, list[_Key]] = {key: [] for key in calls}
    for key, called in waiting.items():
        for each in called:
            callers[each].append(key)
    ready = [key for key, called in waiting.items() if not called]
    order = []
    while ready:
        key = ready.pop()
        order.append(key)
        for caller in callers[key]:
            waiting[caller].discard(key)
            if not waiting[caller]:
                ready.append(caller)
    if len(order) < len(calls):
        stuck = next(key for key in calls if key not in set(order))
        raise FrontendError(f"local function {stuck[1]!r} calls itself, directly or through others, which ONNX forbids")
    return order


def check_loops(model: ModelProto) -> None:
    """No Loop has a constant trip count above a million, but for those that a computed condition ends.

    Raises:
        FrontendError: One has; the node and the count are named.
    """
    waiting: list[tuple[walk.Body, _Scope]] = [(b, ChainMap()) for b in (model.graph, *model.functions)]
    while waiting:
        body, outer = waiting.pop()
        scope = outer.new_child(_constants(body))
        for node in body.node:
            if node.op_type == "Loop" and node.domain in ("", "ai.onnx"):
                _check_loop(node, scope)
            waiting.extend((inner, scope) for inner in walk.bodies(node))


def _constants(body: walk.Body) -> dict[str, TensorProto]:
    """Constant tensors of a graph by name, through Identity."""
    known = {t.name: t for t in body.initializer} if isinstance(body, GraphProto) else {}
    for node in body.node:
        if node.op_type == "Constant" and node.output:
            known.update((node.output[0], t) for t in _constant_values(node))
        elif node.op_type == "Identity" and node.input and node.output and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
    return known


def _constant_values(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.name == "value":
            yield attribute.t
        elif attribute.name == "value_int":
            yield onnx.helper.make_tensor("", TensorProto.INT64, (), [attribute.i])
        elif attribute.name == "value_ints":
            yield onnx.helper.make_tensor("", TensorProto.INT64, [len(attribute.ints)], attribute.ints)


def _check_loop(node: NodeProto, scope: _Scope) -> None:
    tensor = scope.get(node.input[0]) if node.input and node.input[0] else None
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
        return
    values = to_array(tensor).ravel()
    trips = int(values[0]) if values.size == 1 and values.dtype.kind in "iu" else 0
    if trips > MOST_TRIPS and not (trips in _ENDLESS and _ends_itself(node)):
        raise FrontendError(f"Loop {node.name!r} runs {trips} times; at most {MOST_TRIPS} are allowed")


def _ends_itself(node: NodeProto) -> bool:
    """Whether the body computes the condition, rather than hand on the one that it was given."""
    body = next(walk.bodies(node), None)
    if body is None or not body.output or len(body.input) < 2:
        return False
    made = {name: n for n in body.node for name in n.output}
    name = body.output[0].name
    while name in made and made[name].op_type in ("Identity", "Cast") and made[name].input:
        name = made[name].input[0]
    return name in made and made[name].op_type != "Constant"
