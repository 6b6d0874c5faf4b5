"""One node as its rule sees it: what is known of its inputs, and what the rule may say of its axes."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.edits import Freeze, Literal, Remap
from pfir.ir.coupling.trace import (
    MOST_PLACES,
    MOST_TIES,
    WIDEST_AXIS,
    Labels,
    Trace,
    Unfollowed,
    Use,
    display_name,
    node_key,
)
from pfir.ir.operators.table import operator_of

__all__ = ["Op", "Unfollowed", "not_too_wide"]

_FIRST_WHERE = 9
_TOO_MUCH = "the network has too many positions to follow them all"


def not_too_wide(size: int) -> int:
    """The number of positions of an axis that is about to be made.

    Raises:
        Unfollowed: It is too large.
    """
    if size > WIDEST_AXIS:
        raise Unfollowed(f"an axis of {size} positions is too wide")
    return size


class Op:
    """One node as a rule sees it; every labelled input axis that no rule asks for gets pinned afterwards."""

    def __init__(self, trace: Trace, node: gs.Node, order: int):
        self.trace = trace
        self.node = node
        self.order = order
        self.name = display_name(node)
        self.kind = node.op
        self.operator = operator_of(node)
        self.inputs = [t.name for t in node.inputs]
        self.outputs = [t.name for t in node.outputs]
        self._asked: set[tuple[int, int]] = set()

    def has(self, i: int) -> bool:
        return i < len(self.inputs) and self.inputs[i] != ""

    def shape(self, i: int) -> tuple:
        """Dimensions of an input.

        Raises:
            Unfollowed: Its rank is unknown.
        """
        found = self.trace.shapes.get(self.inputs[i])
        if found is None:
            raise Unfollowed(f"the rank of {self.inputs[i]} is unknown")
        return found

    def rank(self, i: int) -> int:
        return len(self.shape(i))

    def size(self, i: int, axis: int) -> int:
        """A dimension that must be known."""
        dim = self.shape(i)[axis]
        if not isinstance(dim, int):
            raise Unfollowed(f"axis {axis} of {self.inputs[i]} has no fixed size")
        return dim

    def attr(self, name: str, default=None):
        value = self.node.attrs.get(name, default)
        if isinstance(value, gs.Node.AttributeRef):
            raise Unfollowed(f"attribute {name} belongs to a function")
        return value

    def literal(self, i: int) -> np.ndarray | None:
        """The numbers of an input, if known now; entries that only a run can know are None (object array)."""
        return self.trace.values.get(self.inputs[i]) if self.has(i) else None

    def need_literal(self, i: int, what: str) -> list[int]:
        """The integers of an input.

        Raises:
            Unfollowed: Some are known only at run time.
        """
        found = self.literal(i)
        if found is None or any(v is None or isinstance(v, str) for v in found.ravel().tolist()):
            raise Unfollowed(f"its {what} are known only at run time")
        return [int(v) for v in found.ravel().tolist()]

    def labels(self, i: int, axis: int) -> Labels:
        if not self.has(i):
            return None
        axis = axis + self.rank(i) if axis < 0 else axis
        self._asked.add((i, axis))
        return self.trace.labels(self.inputs[i], axis)

    def is_constant(self, i: int) -> bool:
        return self.inputs[i] in self.trace.constants

    def of_weights(self) -> bool:
        """Whether the node computes weights from weights."""
        return all(name in self.trace.constants for name in self.inputs if name)

    def tie(self, a: Labels, b: Labels, reason: str = "it meets an axis that keeps its size") -> None:
        """Positions of two axes live or die together; an axis without labels keeps its size, so the other does."""
        if a is None or b is None:
            self.pin(b if a is None else a, reason)
            return
        if a is b:
            return
        pair = tuple(np.broadcast_arrays(a, b))
        if self.trace.tied + pair[0].size > MOST_TIES:
            self.pin(a, _TOO_MUCH)
            self.pin(b, _TOO_MUCH)
            return
        self.trace.tied += pair[0].size
        self.trace.ties.append(pair)

    def join(self, parts: list[Labels], reason: str = "it meets an axis that keeps its size") -> Labels:
        """Axes of equal length that are combined position by position; the labels of the result."""
        labelled = [p for p in parts if p is not None]
        for other in labelled[1:]:
            self.tie(labelled[0], other)
        if labelled and len(labelled) < len(parts):
            self.pin(labelled[0], reason)
        return labelled[0] if labelled else None

    def pin(self, labels: Labels, reason: str) -> None:
        self.trace.pin(labels, self.name, reason)

    def out(self, j: int, axis: int, labels: Labels) -> None:
        """Give an output axis its labels; an axis of one position keeps it, since it may broadcast."""
        if j >= len(self.outputs) or not self.outputs[j]:
            return
        if labels is not None and labels.size == 1:
            self.pin(labels, "an axis of length one stays, it may broadcast")
            labels = None
        if labels is not None and (labels.size > WIDEST_AXIS or self.trace.places + labels.size > MOST_PLACES):
            self.pin(labels, _TOO_MUCH)
            labels = None
        self.trace.places += 0 if labels is None else labels.size
        axes = self.trace.axes.setdefault(self.outputs[j], [])
        axes.extend([None] * (axis + 1 - len(axes)))
        axes[axis] = labels

    def scalar(self, j: int) -> None:
        """Make an output one without axes."""
        if j < len(self.outputs) and self.outputs[j]:
            self.trace.shapes[self.outputs[j]] = ()
            self.trace.axes[self.outputs[j]] = []

    def know_shape(self, j: int, dims) -> None:
        """Fill in what shape inference left open about an output."""
        if j >= len(self.outputs) or not self.outputs[j]:
            return
        dims = tuple(int(d) if isinstance(d, np.integer) else d if isinstance(d, (int, str)) else None for d in dims)
        found = self.trace.shapes.get(self.outputs[j])
        if found is None:
            self.trace.shapes[self.outputs[j]] = dims
        elif len(found) == len(dims):
            self.trace.shapes[self.outputs[j]] = tuple(b if a is None else a for a, b in zip(found, dims, strict=True))

    def learn_rank(self) -> None:
        """Give an output whose axes a rule has listed as many, whatever shape inference knows."""
        for j, name in enumerate(self.outputs):
            axes = self.trace.axes.get(name)
            if axes:
                self.know_shape(j, [None if labels is None else labels.size for labels in axes])

    def produce(self, i: int, axis: int, role: str) -> None:
        """Input i, if constant, holds along `axis` the numbers that make the node's output channels."""
        if self.has(i) and self.is_constant(i):
            self._use(i, axis, role, False)

    def consume(self, i: int, axis: int, data: tuple[int, int] | None = None) -> None:
        """The node sums over `axis` of input i; `data` is the input and axis of the activation that it meets there."""
        self._use(i, axis, "weight", True, data or (i, axis))

    def count(self, labels: Labels) -> None:
        """Every number at these positions has a part in what the node does, whatever its weights."""
        if labels is not None:
            inner = self.trace.depth > 0
            self.trace.uses.append(Use(self.name, self.kind, self.order, "weight", labels, consumes=True, inner=inner))

    def contract(self, left: tuple[int, int], right: tuple[int, int]) -> None:
        """The node sums over these axes of two inputs: a weight meets an activation, or two activations meet."""
        if self.is_constant(right[0]) or not self.is_constant(left[0]):
            self.consume(*right, data=left)
        if self.is_constant(left[0]) or not self.is_constant(right[0]):
            self.consume(*left, data=right if self.is_constant(left[0]) else left)

    def _use(self, i: int, axis: int, role: str, consumes: bool, data: tuple[int, int] = (0, 0)) -> None:
        axis = axis + self.rank(i) if axis < 0 else axis
        labels = self.trace.labels(self.inputs[i], axis)
        if labels is None:
            return
        if consumes and self.of_weights():
            # A masked channel is zero in activations, not in the weights that others are computed from.
            self.pin(labels, f"{self.kind} of weights alone sums over this axis")
        tensor, perm = self.trace.origins.get(self.inputs[i], ("", ()))
        where = perm[axis] if tensor else 0
        site = (self.inputs[data[0]], data[1]) if consumes else ("", 0)
        weights, inner = self.is_constant(i), self.trace.depth > 0
        use = Use(self.name, self.kind, self.order, role, labels, tensor, where, consumes, site, weights, inner)
        self.trace.uses.append(use)

    def rewrite(self, edit: Literal | Remap | Freeze) -> None:
        """Note what must be written anew when axes of this node lose positions.

        Raises:
            Unfollowed: It needs the operator Where, which the model's opset lacks.
        """
        overlay = isinstance(edit, (Literal, Freeze)) and None in edit.values
        if overlay and edit.sites and self.trace.opset < _FIRST_WHERE:
            raise Unfollowed("some of its sizes are dynamic, and opset 9 would be needed to give the others")
        self.trace.edits.append(edit)

    @property
    def key(self) -> str:
        return node_key(self.node)

    def carry_origin(self, perm: tuple[int, ...] | None = None) -> None:
        """The output holds the numbers of input 0's initializer, its axes permuted."""
        found = self.trace.origins.get(self.inputs[0])
        if found:
            tensor, axes = found
            self.trace.origins[self.outputs[0]] = (tensor, tuple(axes[p] for p in perm) if perm else axes)

    def forget_outputs(self) -> None:
        for name in self.outputs:
            self.trace.axes.pop(name, None)

    def pin_inputs(self, reason: str) -> None:
        for name in self.inputs:
            self.trace.pin_tensor(name, self.name, reason)

    def pin_unasked(self) -> None:
        """Pin the axes that the rule did not look at, and so did not follow."""
        for i, name in enumerate(self.inputs):
            for axis, labels in enumerate(self.trace.axes.get(name, ())):
                if (i, axis) not in self._asked:
                    self.pin(labels, f"{self.kind} fixes axis {axis} of {name}")

    def pin_if_outputs_are_missing(self) -> None:
        """Pin the first output where the rule says nothing of a second one, which may share axes with it."""
        silent = [n for n in self.outputs[1:] if n and n not in self.trace.axes]
        if silent and self.outputs[0] in self.trace.axes:
            self.trace.pin_tensor(self.outputs[0], self.name, f"{self.kind} is not followed to {silent[0]}")
