"""What a tail costs: the instructions of element-wise nodes on one vector of results."""

from __future__ import annotations

from pfir.instructions import Instructions
from pfir.workload import Tail


def tail_of_vector(tail: Tail, vector_bytes: int) -> Instructions:
    """The instructions of the nodes behind a kernel's sums on one vector of them, without storing it.

    A bias is not among them: sums begin with it.
    """
    operations = sum(_OPERATIONS.get(name, 1) for name in tail.operators)
    return Instructions(vector=operations, load=tail.reads, load_bytes=tail.reads * vector_bytes)


# Vector instructions of an element-wise node.
_OPERATIONS = {"Clip": 2, "Identity": 0, "Dropout": 0}
