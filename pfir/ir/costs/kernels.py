"""The kernels that a compiler would make of a graph: contractions with their epilogues, and what is left between."""

# ruff: noqa: SIM905  (a list of operators reads best as words)
from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from pfir.ir.costs.families import FAMILIES
from pfir.ir.costs.geometry import geometry_of, over_integers
from pfir.ir.costs.grouping import Grouping
from pfir.ir.costs.plans import CONVOLUTIONS, Geometry, Plan, family_at, itemsize
from pfir.ir.costs.symbolic_cost import CONTRACTIONS, axes, is_sized, mac_terms, weight_of
from pfir.ir.costs.tails import chain_of, tail_of
from pfir.ir.edit import array, held, is_op, operand
from pfir.ir.operators.elementwise import N_ARY, UNARY
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import has_form
from pfir.target import INT8, SINGLE

# What a kernel does to its results one by one, on the way or at its end.
ELEMENTWISE = frozenset(
    (*UNARY, *N_ARY, "BatchNormalization", "Cast", "DequantizeLinear", "QuantizeLinear", "QuickGelu")
)
_AVERAGES = ("average", "mean")
_POOLS = frozenset("AveragePool LpPool MaxPool MaxUnpool".split())
_MOVES = frozenset(
    "CenterCropPad Col2Im Compress Concat DepthToSpace Expand Gather GatherElements GatherND Pad Resize "
    "ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Tile Transpose Trilu Upsample".split()
)
_WITH_EPILOGUE = frozenset(family.name for family in FAMILIES if family.epilogue)
# Another name for the same bytes: nothing to compute.
_FREE = frozenset("Constant Dropout Flatten Identity Reshape Shape Size Squeeze Unsqueeze".split())


def plan_kernels(graph: gs.Graph, grouping: Grouping | None = None) -> list[Plan]:
    """The kernels of a graph whose sizes are fixed, in order of execution.

    Args:
        grouping: Which nodes share a kernel. Without it, or where it does not know the graph, an element-wise node
            joins the contraction (or else the last kernel) that computes one of its inputs, if nobody else reads that;
            a Pad joins the convolution or pooling behind it; moves in a row are one kernel; Reshape and its like cost
            nothing.
    """
    nodes = [node for node in graph.nodes if node.outputs]
    given = grouping if grouping is not None and grouping.knows(n for n in nodes if n.op != "Constant") else None
    plans = _given_plans(nodes, given) if given else _usual_plans(graph, nodes)
    for plan in plans:
        plan.tail = chain_of(plan.nodes) if plan.geometry.work == "elementwise" else tail_of(plan.nodes)
        plan.dtype = INT8 if _is_integer(plan) else SINGLE
        if plan.macs and plan.dtype == INT8:
            plan.geometry = over_integers(plan.nodes[0], plan.geometry)
    copies = _copies(graph, given.copies) if given else []
    return [*sorted(plans, key=lambda p: p.last), *copies]


def _is_integer(plan: Plan) -> bool:
    """Whether a contraction reads data and weights of eight bits, an average reads such, whose last step alone writes
    them, or another kernel reads or writes them."""
    read, written = ([t for t in of.values() if not isinstance(t, gs.Constant)] for of in (plan.inputs, plan.outputs))
    if not plan.macs:
        return any(map(_is_byte, read if plan.geometry.kind in _AVERAGES else [*read, *written]))
    constants = [t for t in plan.inputs.values() if isinstance(t, gs.Constant)]
    return any(map(_is_byte, read)) and any(map(_is_byte, constants))


def _is_byte(tensor: gs.Tensor) -> bool:
    return tensor.dtype is not None and itemsize(tensor) == 1 and _is_int(tensor)


def _given_plans(nodes: list[gs.Node], grouping: Grouping) -> list[Plan]:
    plans: dict[int, Plan] = {}
    alias: dict[str, gs.Tensor] = {}
    for position, node in enumerate(nodes):
        inputs = [t for t in node.inputs if not t.is_empty()]
        place = grouping.of_node.get(node.outputs[0].name)
        if place is None and is_op(node, "QuantizeLinear"):
            _write_integers(plans.values(), node)
            continue
        if place is None:
            _name_again(node, inputs, alias)
            continue
        plan = plans.get(place) or plans.setdefault(place, _start(node))
        _absorb(plan, node, inputs, alias)
        plan.last = position
    return list(plans.values())


def _usual_plans(graph: gs.Graph, nodes: list[gs.Node]) -> list[Plan]:
    holding = held(graph)
    home: dict[str, Plan] = {}  # tensor to the kernel that computes it
    plans: list[Plan] = []
    alias: dict[str, gs.Tensor] = {}
    for position, node in enumerate(nodes):
        inputs = [t for t in node.inputs if not t.is_empty()]
        if is_op(node, *_FREE) or (is_op(node, "DequantizeLinear") and _is_constant(node.inputs[0])):
            _name_again(node, inputs, alias)
            continue
        plan = _fusable(node, inputs, home, holding)
        if plan is None:
            plan = _start(node)
            plans.append(plan)
        _absorb(plan, node, inputs, alias)
        plan.last = position
        home.update({t.name: plan for t in node.outputs})
    _merge_pads(plans)
    return plans


def _copies(graph: gs.Graph, names: tuple[str, ...]) -> list[Plan]:
    """Kernels that write tensors in another order."""
    tensors, found = graph.tensors(), []
    for tensor in (tensors[name] for name in names if name in tensors and is_sized(tensors[name])):
        dims = axes(tensor)
        geometry = Geometry("transpose", is_image=not tensor.inputs, kind="Transpose")
        plan = Plan(f"{tensor.name} in another order", "move", data=dims, out=dims, geometry=geometry)
        plan.inputs = plan.outputs = {tensor.name: tensor}
        found.append(plan)
    return found


def _name_again(node: gs.Node, inputs: list[gs.Tensor], alias: dict[str, gs.Tensor]) -> None:
    if inputs:
        alias[node.outputs[0].name] = alias.get(inputs[0].name, inputs[0])


def _write_integers(plans: Iterable[Plan], node: gs.Node) -> None:
    """Let the kernel that makes what this node quantizes write its integers: it never had other numbers."""
    for plan in plans:
        if plan.outputs.pop(node.inputs[0].name, None) is not None:
            plan.outputs[node.outputs[0].name] = node.outputs[0]


def _start(node: gs.Node) -> Plan:
    family = _family(node)
    plan = Plan(node.name or node.outputs[0].name, family, list(mac_terms(node)), geometry=geometry_of(node, family))
    plan.open = family in _WITH_EPILOGUE | {"elementwise", "move"}
    data, out = next((t for t in node.inputs if not t.is_empty()), None), node.outputs[0]
    plan.data, plan.out = (axes(t) if is_sized(t) else () for t in (data, out))
    if family in CONVOLUTIONS:
        plan.channels_in = (weight_of(node).name, 1) if has_form(node, Form.CONVOLUTION) else (data.name, 1)
    return plan


def _family(node: gs.Node) -> str:
    if node.op in CONTRACTIONS and mac_terms(node):
        return _contraction_family(node)
    for ops, family in ((_POOLS, "pool"), (_MOVES, "move"), (ELEMENTWISE, "elementwise")):
        if is_op(node, *ops):
            return family
    return "reduce"


def _contraction_family(node: gs.Node) -> str:
    if not has_form(node, Form.CONVOLUTION, Form.TRANSPOSED_CONVOLUTION):
        return "dense" if _is_constant(weight_of(node)) else "matmul"
    groups = int(node.attrs.get("group", 1))
    if groups == 1 and _is_3x3(node):
        return "conv3x3"
    return family_at("conv", node.inputs[0].shape[1] // groups, node.inputs[0].shape[1])


def _is_constant(tensor: gs.Tensor) -> bool:
    """Whether it is a constant, or one whose integers stand for floats."""
    made = tensor.inputs[0] if tensor.inputs else None
    behind = made is not None and is_op(made, "DequantizeLinear", "Transpose")
    return _is_constant(made.inputs[0]) if behind else array(tensor) is not None


def _is_3x3(node: gs.Node) -> bool:
    """Whether a convolution has a 3x3 kernel and neither stride nor dilation, so that Winograd's transforms apply."""
    steps = [*node.attrs.get("strides", [1]), *node.attrs.get("dilations", [1])]
    return has_form(node, Form.CONVOLUTION) and tuple(weight_of(node).shape[2:]) == (3, 3) and set(steps) == {1}


def _fusable(node: gs.Node, inputs: list[gs.Tensor], home: dict[str, Plan], holding: set[str]) -> Plan | None:
    """The kernel that this node can end, if any.

    The other inputs may be computed after that kernel's first node: as nobody else reads its result, they cannot depend
    on it, and the whole kernel can run after them.
    """
    if len(node.outputs) != 1:
        return None
    feeding = [(home[t.name], t) for t in inputs if t.name in home]
    if is_op(node, *_MOVES):
        plan = feeding[0][0] if len(feeding) == 1 and _is_free_end(*feeding[0], holding) else None
        return plan if plan is not None and plan.family == "move" else None
    if not is_op(node, *ELEMENTWISE):
        return None
    able = [p for p, t in feeding if _is_free_end(p, t, holding) and _same_sizes(t, node.outputs[0])]
    return max(able, key=lambda p: (p.family in _WITH_EPILOGUE, p.last), default=None)


def _is_free_end(plan: Plan, tensor: gs.Tensor, holding: set[str]) -> bool:
    """Whether a tensor is all that the kernel leaves, and one node alone reads it."""
    alone = len(tensor.outputs) == 1 and tensor.name not in holding
    return plan.open and alone and list(plan.outputs) == [tensor.name]


def _same_sizes(a: gs.Tensor, b: gs.Tensor) -> bool:
    return is_sized(a) and is_sized(b) and list(a.shape) == list(b.shape)


def _absorb(plan: Plan, node: gs.Node, inputs: list[gs.Tensor], alias: dict[str, gs.Tensor]) -> None:
    for tensor in inputs:
        source = alias.get(tensor.name) or tensor
        if tensor.name not in plan.outputs and not _is_setting(tensor):
            plan.inputs.setdefault(source.name, source)
    plan.outputs = {t.name: t for t in node.outputs if not t.is_empty() and (t.outputs or len(node.outputs) == 1)}
    plan.nodes.append(node)


def _is_setting(tensor: gs.Tensor) -> bool:
    """Whether a constant tells a node what to do (axes, pads, sizes) rather than being worked on."""
    return isinstance(tensor, gs.Constant) and len(tensor.shape) <= 1 and tensor.dtype is not None and _is_int(tensor)


def _is_int(tensor: gs.Tensor) -> bool:
    return str(tensor.dtype).startswith(("int", "uint"))


def _merge_pads(plans: list[Plan]) -> None:
    """A Pad alone in its kernel is done by the convolution or pooling that reads it."""
    for plan in [p for p in plans if p.family == "move" and len(p.nodes) == 1]:
        (padded,) = list(plan.outputs.values()) if len(plan.outputs) == 1 else (None,)
        if padded is None or len(padded.outputs) != 1 or not _is_lone_pad(padded):
            continue
        reader = next((p for p in plans if padded in p.nodes[0].inputs), None)
        if reader is not None and reader.family in CONVOLUTIONS | {"pool"}:
            source = padded.inputs[0].inputs[0]
            reader.inputs = {source.name: source, **{n: t for n, t in reader.inputs.items() if n != padded.name}}
            plans.remove(plan)


def _is_lone_pad(tensor: gs.Tensor) -> bool:
    node = tensor.inputs[0] if tensor.inputs else None
    return node is not None and is_op(node, "Pad") and operand(node, 0) is not None
