"""Which nodes a compiler computes by one kernel: as a backend says, or as compilers usually do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import onnx_graphsurgeon as gs

from pfir.ir.model import Model

Groups = Callable[[Model], "Grouping | None"]
"""What says which nodes of a model share a kernel; None where they do as compilers usually let them."""


def as_usual(model: Model) -> Grouping | None:
    """Nothing is known."""
    del model
    return None


@dataclass(frozen=True)
class Grouping:
    """What a backend makes of a graph; nodes are told by their first outputs.

    Args:
        kernels: The nodes of each kernel, in order of execution.
        free: Nodes that cost nothing: another name for the same bytes.
        copies: Tensors that are copied into another order in memory.
    """

    kernels: tuple[tuple[str, ...], ...]
    free: frozenset[str] = frozenset()
    copies: tuple[str, ...] = ()

    @cached_property
    def of_node(self) -> dict[str, int]:
        """First output to the place of the node's kernel."""
        return {name: place for place, names in enumerate(self.kernels) for name in names}

    def knows(self, nodes: Iterable[gs.Node]) -> bool:
        """Whether it says of every node what becomes of it."""
        return all(node.outputs[0].name in self.of_node or node.outputs[0].name in self.free for node in nodes)
