"""The kernels that a compiler would make of a graph: contractions with their epilogues, and what is left between."""

# ruff: noqa: SIM905  (a list of operators reads best as words)
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import Kernel
from pfir.ir.costs.families import FAMILIES
from pfir.ir.costs.symbolic_cost import CONTRACTIONS, Dim, Term, axes, is_sized, mac_terms, weight_of
from pfir.ir.edit import array, held, is_op, operand
from pfir.ir.operators.elementwise import N_ARY, UNARY
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import has_form

# What a kernel does to its results one by one, on the way or at its end.
ELEMENTWISE = frozenset(
    (*UNARY, *N_ARY, "BatchNormalization", "Cast", "DequantizeLinear", "QuantizeLinear", "QuickGelu")
)
_POOLS = frozenset("AveragePool LpPool MaxPool MaxUnpool".split())
_MOVES = frozenset(
    "CenterCropPad Col2Im Compress Concat DepthToSpace Expand Gather GatherElements GatherND Pad Resize "
    "ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Tile Transpose Trilu Upsample".split()
)
_CONVOLUTIONS = frozenset(family.name for family in FAMILIES if family.convolution)
_WITH_EPILOGUE = frozenset(family.name for family in FAMILIES if family.epilogue)
# Another name for the same bytes: nothing to compute.
_FREE = frozenset("Constant Dropout Flatten Identity Reshape Shape Size Squeeze Unsqueeze".split())


@dataclass
class Plan:
    """One kernel as formulas over sizes.

    Args:
        name: Of its first node.
        family: As in `Kernel`.
        macs, read, written: Sums of terms; the last two in bytes.
        channels_out, channels_in: Sizes to look up, None where there is none.
        channels_total: Input channels of all groups of a convolution.
        inputs: Tensors that it reads, in order, each once.
        outputs: Tensors that it leaves.
        open: Whether a node may be fused behind it.
        last: The position of its last node in the graph.
    """

    name: str
    family: str
    macs: list[Term] = field(default_factory=list)
    channels_out: Dim | None = None
    channels_in: Dim | None = None
    channels_total: Dim | None = None
    inputs: dict[str, gs.Tensor] = field(default_factory=dict)
    outputs: dict[str, gs.Tensor] = field(default_factory=dict)
    open: bool = False
    last: int = 0

    def read(self) -> list[Term]:
        return [term for t in self.inputs.values() for term in _bytes(t)]

    def written(self) -> list[Term]:
        return [term for t in self.outputs.values() for term in _bytes(t)]


def _bytes(tensor: gs.Tensor) -> tuple[Term, ...]:
    if not is_sized(tensor) or tensor.dtype is None:
        return ()
    return (Term(itemsize(tensor), axes(tensor)),)


def itemsize(tensor: gs.Tensor) -> int:
    """Bytes of one element."""
    return np.dtype(tensor.dtype).itemsize


def evaluate(plan: Plan, sizes: dict[str, tuple[int, ...]]) -> Kernel:
    """The kernel at these sizes."""

    def size(dim: Dim | None) -> int:
        return 0 if dim is None else sizes[dim[0]][dim[1]]

    return Kernel(
        plan.name,
        family_at(plan.family, size(plan.channels_in), size(plan.channels_total)),
        sum(t.value(sizes) for t in plan.macs),
        sum(t.value(sizes) for t in plan.read()),
        sum(t.value(sizes) for t in plan.written()),
        size(plan.channels_out),
        size(plan.channels_in),
    )


def family_at(family: str, channels_in: int, total: int) -> str:
    """A convolution's family follows from its input channels in one group and in all; any other family stays."""
    if not total or family == "conv3x3":
        return family
    if channels_in == total:
        return "conv"
    return "depthwise" if channels_in == 1 else "grouped"


def plan_kernels(graph: gs.Graph) -> list[Plan]:
    """The kernels of a graph whose sizes are fixed, in order of execution.

    An element-wise node joins the contraction (or else the last kernel) that computes one of its inputs, if nobody else
    reads that; a Pad joins the convolution or pooling behind it; moves in a row are one kernel; Reshape and its like
    cost nothing.
    """
    holding = held(graph)
    home: dict[str, Plan] = {}  # tensor to the kernel that computes it
    plans: list[Plan] = []
    alias: dict[str, gs.Tensor] = {}
    for position, node in enumerate(graph.nodes):
        inputs = [t for t in node.inputs if not t.is_empty()]
        if is_op(node, *_FREE):
            if inputs:
                alias[node.outputs[0].name] = alias.get(inputs[0].name, inputs[0])
            continue
        plan = _fusable(node, inputs, home, holding)
        if plan is None:
            plan = _start(node)
            plans.append(plan)
        _absorb(plan, node, inputs, alias)
        plan.last = position
        home.update({t.name: plan for t in node.outputs})
    _merge_pads(plans)
    return sorted(plans, key=lambda p: p.last)


def _start(node: gs.Node) -> Plan:
    family = _family(node)
    plan = Plan(node.name or node.outputs[0].name, family, list(mac_terms(node)))
    plan.open = family in _WITH_EPILOGUE | {"elementwise", "move"}
    _set_channels(plan, node)
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
        return "dense" if array(weight_of(node)) is not None else "matmul"
    groups = int(node.attrs.get("group", 1))
    if groups == 1 and _is_3x3(node):
        return "conv3x3"
    return family_at("conv", node.inputs[0].shape[1] // groups, node.inputs[0].shape[1])


def _is_3x3(node: gs.Node) -> bool:
    """Whether a convolution has a 3x3 kernel and neither stride nor dilation, so that Winograd's transforms apply."""
    steps = [*node.attrs.get("strides", [1]), *node.attrs.get("dilations", [1])]
    return has_form(node, Form.CONVOLUTION) and tuple(weight_of(node).shape[2:]) == (3, 3) and set(steps) == {1}


def _set_channels(plan: Plan, node: gs.Node) -> None:
    out, data = node.outputs[0], node.inputs[0] if node.inputs else None
    if not is_sized(out) or len(out.shape) < 2:
        return
    if plan.family in ("dense", "matmul"):
        plan.channels_out = (out.name, len(out.shape) - 1)
        plan.channels_in = _contracted(node)
        return
    plan.channels_out = (out.name, 1)
    if plan.family not in _CONVOLUTIONS:
        return
    if has_form(node, Form.CONVOLUTION):
        plan.channels_in, plan.channels_total = (weight_of(node).name, 1), (data.name, 1)
    elif plan.family == "conv":
        plan.channels_in = (data.name, 1)


def _contracted(node: gs.Node) -> Dim | None:
    left = node.inputs[0]
    if has_form(node, Form.EINSUM, Form.RECURRENT):
        return None
    return (left.name, 0 if node.attrs.get("transA", 0) else len(left.shape) - 1)


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


def _is_setting(tensor: gs.Tensor) -> bool:
    """Whether a constant tells a node what to do (axes, pads, sizes) rather than being worked on."""
    return isinstance(tensor, gs.Constant) and len(tensor.shape) <= 1 and np.dtype(tensor.dtype).kind == "i"


def _merge_pads(plans: list[Plan]) -> None:
    """A Pad alone in its kernel is done by the convolution or pooling that reads it."""
    for plan in [p for p in plans if p.family == "move"]:
        (padded,) = list(plan.outputs.values()) if len(plan.outputs) == 1 else (None,)
        if padded is None or len(padded.outputs) != 1 or not _is_lone_pad(padded):
            continue
        reader = next((p for p in plans if padded.name in p.inputs), None)
        if reader is not None and reader.family in _CONVOLUTIONS | {"pool"}:
            source = padded.inputs[0].inputs[0]
            reader.inputs = {source.name: source, **{n: t for n, t in reader.inputs.items() if n != padded.name}}
            plans.remove(plan)


def _is_lone_pad(tensor: gs.Tensor) -> bool:
    node = tensor.inputs[0] if tensor.inputs else None
    return node is not None and is_op(node, "Pad") and operand(node, 0) is not None
