"""Everything that the rules say of a graph: labels on axes, what ties or pins them, and which node said so."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.edits import Edit
from pfir.ir.coupling.groups import Pin

# Memory and time of the analysis grow with these; a labelled position costs about a hundred bytes in the end.
WIDEST_AXIS = 1 << 20
MOST_LABELS = 1 << 23
MOST_PLACES = 1 << 23
MOST_TIES = 1 << 24

Labels = np.ndarray | None
"""One label per position of an axis; None for an axis that keeps its size."""


class Unfollowed(Exception):  # noqa: N818 - a verdict about a node, caught where nodes are visited
    """The verdict of a rule that it cannot follow a node; its text is the reason."""


@dataclass(frozen=True)
class Use:
    """A node that makes or contracts over the channels of one axis of an input.

    Args:
        tensor: The initializer that holds the numbers, and `axis` of it; "" if none does.
        data: For a consumer, the activation axis that it sums over.
        constant: Whether the input is made of weights alone, wherever they are.
        inner: Whether the node lies in a body.
    """

    node: str
    op: str
    order: int
    role: str
    labels: np.ndarray
    tensor: str = ""
    axis: int = 0
    consumes: bool = False
    data: tuple[str, int] = ("", 0)
    constant: bool = True
    inner: bool = False


@dataclass
class Trace:
    """Everything that the rules found, node by node.

    Args:
        shapes: Dimensions by tensor, ints where known; None for an unknown rank.
        opset: The version of the default domain.
        split: Which factor takes the labels when a Reshape splits an axis: "auto" (whole heads and norm groups),
            "within" (the width inside heads), or always "major", "minor" or "first".
        nodes: Those visited so far, bodies' nodes behind the one that holds them; `Use.order` counts in it.
        depth: How many bodies there are around the node that is visited.
        keep: Nodes whose output channels must stay.
        unclear: Names that several tensors have.
        count: How many labels there are, `places` on how many positions of axes, `tied` how many pairs of them.
        given_up: Nodes, by first output, that no rule could follow, and why.
        held: Tensors, by name, that stay whoever makes them, and why.
    """

    shapes: dict[str, tuple | None]
    opset: int
    split: str = "auto"
    keep: tuple[str, ...] = ()
    count: int = 0
    places: int = 0
    tied: int = 0
    axes: dict[str, list[Labels]] = field(default_factory=dict)
    ties: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    pins: list[tuple[np.ndarray, Pin]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    origins: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    made_by: dict[str, tuple[int, str]] = field(default_factory=dict)
    ambiguous: bool = False
    nodes: list[gs.Node] = field(default_factory=list)
    depth: int = 0
    unclear: set[str] = field(default_factory=set)
    given_up: dict[str, Pin] = field(default_factory=dict)
    held: dict[str, Pin] = field(default_factory=dict)

    def mark(self) -> dict[str, object]:
        """All that was found so far, for `restore`."""
        return {name: copy(value) for name, value in vars(self).items()}

    def restore(self, mark: dict[str, object]) -> None:
        """Forget what was found since; a mark serves once."""
        vars(self).update(mark)

    def new(self, size: int) -> np.ndarray:
        """Fresh labels.

        Raises:
            Unfollowed: They are too many.
        """
        if not self.fits(size):
            raise Unfollowed(f"an axis of {size} positions is too wide, beside all others")
        self.count += size
        return np.arange(self.count - size, self.count)

    def fits(self, size: int) -> bool:
        """Whether an axis may have fresh labels."""
        return size <= WIDEST_AXIS and self.count + size <= MOST_LABELS

    def add_constant(self, name: str, shape: tuple[int, ...]) -> None:
        """Take in an initializer, of which every axis longer than one may lose positions until somebody objects."""
        self.shapes[name] = tuple(shape)
        self.axes[name] = [self.new(n) if n > 1 and self.fits(n) else None for n in shape]
        self.constants.add(name)
        self.origins[name] = (name, tuple(range(len(shape))))

    def labels(self, tensor: str, axis: int) -> Labels:
        found = self.axes.get(tensor)
        return None if found is None or axis >= len(found) else found[axis]

    def pin(self, labels: Labels, node: str, reason: str) -> None:
        if labels is not None and labels.size:
            self.pins.append((labels, Pin(node, reason)))

    def pin_tensor(self, tensor: str, node: str, reason: str) -> None:
        for labels in self.axes.get(tensor, ()):
            self.pin(labels, node, reason)


def display_name(node: gs.Node) -> str:
    """What a user calls a node: its name, else its operator and first output."""
    return node.name or f"{node.op}({node_key(node)})"


def node_key(node: gs.Node) -> str:
    """The first output's name: unlike node names it is always there, and unique."""
    return next((t.name for t in node.outputs if t.name), "")
