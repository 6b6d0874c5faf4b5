"""One kernel as formulas over the sizes of tensors: what it multiplies, reads and writes, and what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import Kernel
from pfir.ir.costs.families import FAMILIES
from pfir.ir.costs.symbolic_cost import Dim, Term, axes, is_sized
from pfir.ir.costs.zeros import Zeros
from pfir.target import SINGLE
from pfir.workload import Tail, Workload

CONVOLUTIONS = frozenset(family.name for family in FAMILIES if family.convolution)
_FLAT = 2  # axes up to which there is one order


@dataclass(frozen=True)
class Geometry:
    """What a kernel computes, beside its sizes.

    Args:
        work: What workloads call its kind.
        kernel, strides, dilations, pads, spread: As in `Workload`.
        is_image: Whether it reads an input of the model, which lies in ONNX's order.
        kind: As in `Workload`.
        parts: How many tensors a Concat joins.
        zeros: Those of its weights; None where too few are worth skipping.
    """

    work: str
    kernel: tuple[int, ...] = (1, 1)
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0)
    spread: tuple[int, ...] = (1, 1)
    is_image: bool = False
    kind: str = ""
    parts: int = 0
    zeros: Zeros | None = None

    @property
    def is_pointwise(self) -> bool:
        """Whether a convolution multiplies each position by itself."""
        return {*self.kernel, *self.strides} == {1} and not any(self.pads)


@dataclass
class Plan:
    """One kernel.

    Args:
        name: Of its first node.
        family: As in `Kernel`.
        macs: Sum of terms.
        data, out: The tensors that its first node reads and makes, as their dims.
        channels_in: Input channels of one group of a convolution; None elsewhere.
        geometry: What it computes.
        nodes: Its nodes, in order.
        inputs: Tensors that it reads, in order, each once.
        outputs: Tensors that it leaves.
        open: Whether a node may be fused behind it.
        last: The position of its last node in the graph.
        tail: What its nodes but the first ask for.
        dtype: What it computes in: `INT8` where that is integers, or where it reads or writes such; of averages where
            they read such.
    """

    name: str
    family: str
    macs: list[Term] = field(default_factory=list)
    data: tuple[Dim, ...] = ()
    out: tuple[Dim, ...] = ()
    channels_in: Dim | None = None
    geometry: Geometry = Geometry("elementwise")
    nodes: list[gs.Node] = field(default_factory=list)
    inputs: dict[str, gs.Tensor] = field(default_factory=dict)
    outputs: dict[str, gs.Tensor] = field(default_factory=dict)
    open: bool = False
    last: int = 0
    tail: Tail = Tail()
    dtype: str = SINGLE

    def read(self) -> list[Term]:
        """Bytes."""
        return [term for t in self.inputs.values() for term in _bytes(t)]

    def written(self) -> list[Term]:
        """Bytes."""
        return [term for t in self.outputs.values() for term in _bytes(t)]

    def weights(self) -> list[Term]:
        """Bytes read that are constant."""
        return [term for t in self.inputs.values() if isinstance(t, gs.Constant) for term in _bytes(t)]

    def costs(self) -> tuple[list[Term], ...]:
        """Multiply-accumulates, then bytes read, written, and of weights; what `kernel_of` takes."""
        return self.macs, self.read(), self.written(), self.weights()

    def workload(self, data: tuple[int, ...], out: tuple[int, ...], channels_in: int) -> Workload:
        """What it computes at these sizes; of weights cut to others than the model's, zeros are not known."""
        g, zeros = self.geometry, self._zeros(data, out)
        return Workload(
            g.work,
            data,
            out,
            _order(len(data), g.is_image),
            g.kernel,
            g.strides,
            g.dilations,
            g.pads,
            g.spread,
            data[1] // channels_in if self.family in CONVOLUTIONS and channels_in else 1,
            self.tail.kind,
            self.dtype,
            kind=g.kind,
            into=_order(len(out), not g.is_image) if g.work == "transpose" else (),
            parts=_shared(out[1] if len(out) > 1 else 1, g.parts),
            zeros=zeros.name if zeros else "",
            rounds=zeros.rounds if zeros else (),
        )

    def _zeros(self, data: tuple[int, ...], out: tuple[int, ...]) -> Zeros | None:
        """Those of its weights as they are at these sizes."""
        zeros, axis = self.geometry.zeros, 1 if self.family in CONVOLUTIONS else -1
        whole = zeros is not None and zeros.sizes == (data[axis], out[axis])
        return zeros if whole else None


def _order(rank: int, is_image: bool) -> tuple[int, ...]:
    """The axes in memory order: ONNX's own of an image, else channels last."""
    plain = tuple(range(rank))
    return plain if is_image or rank <= _FLAT else (0, *plain[2:], 1)


def _shared(channels: int, parts: int) -> tuple[int, ...]:
    """As many nearly equal parts of the channels."""
    return tuple((channels + i) // parts for i in range(parts)) if parts > 1 else ()


def _bytes(tensor: gs.Tensor) -> tuple[Term, ...]:
    if not is_sized(tensor) or tensor.dtype is None:
        return ()
    return (Term(itemsize(tensor), axes(tensor)),)


def itemsize(tensor: gs.Tensor) -> int:
    """Bytes of one element."""
    return np.dtype(tensor.dtype).itemsize


def evaluate(plan: Plan, sizes: Mapping[str, tuple[int, ...]]) -> Kernel:
    """The kernel at these sizes."""

    def shape(dims: Sequence[Dim]) -> tuple[int, ...]:
        return tuple(sizes[tensor][axis] for tensor, axis in dims)

    costs = (sum(t.value(sizes) for t in terms) for terms in plan.costs())
    (each_in,) = shape([plan.channels_in]) if plan.channels_in else (0,)
    return kernel_of(plan, tuple(costs), shape(plan.data), shape(plan.out), each_in)


def kernel_of(
    plan: Plan, costs: Sequence[int], data: tuple[int, ...], out: tuple[int, ...], channels_in: int
) -> Kernel:
    """The kernel of these costs at these sizes."""
    total = data[1] if plan.channels_in else 0
    family = family_at(plan.family, channels_in, total)
    return Kernel(plan.name, family, *costs, plan.workload(data, out, channels_in), plan.tail)


def family_at(family: str, channels_in: int, total: int) -> str:
    """A convolution's family follows from its input channels in one group and in all; any other family stays."""
    if not total or family == "conv3x3":
        return family
    if channels_in == total:
        return "conv"
    return "depthwise" if channels_in == 1 else "grouped"
