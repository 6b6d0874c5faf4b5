"""Instructions of a kernel as any good library would write it: for what has no counts of its own."""

from __future__ import annotations

from math import ceil, prod

from pfir.artifact import Kernel
from pfir.instructions import Instructions
from pfir.target import HALF, Target

# Accumulators of a register tile, positions by vectors of channels, and what loads its step takes: a vector of weights
# for each vector, and a value of each position, four of which come together.
_ROWS, _VECTORS = 4, 4
_LOADS = (_VECTORS / 2 + _ROWS / 4) / (_ROWS * _VECTORS)
# Families whose channels do not mix read a vector of values for each multiply-add, some of them from registers.
_APART = {"depthwise": 0.6, "grouped": 0.6, "dense": 1.0}
# Scalar instructions and branches for each vector instruction.
_SCALAR, _BRANCH = 0.06, 0.02
_CALL = 2000  # instructions of what calls a kernel
_VECTOR_OPERATIONS = 2  # of an element-wise kernel, on a vector of results


def plain_instructions(kernel: Kernel, target: Target) -> Instructions:
    """The instructions of a kernel of any family: padded multiply-adds with the loads of a register tile, then what
    follows on each vector of results."""
    lanes, width = target.lanes, target.value_bytes
    channels = _channels(kernel)
    padded = ceil(channels / lanes) * lanes / channels
    multiplies = kernel.macs / lanes * padded
    loads = multiplies * _APART.get(kernel.family, _LOADS)
    results = kernel.written_bytes / 4 / lanes * padded
    operations = results * (1 + len(kernel.tail.operators)) if kernel.macs else _without_products(kernel, lanes)
    loads += results * kernel.tail.reads if kernel.macs else kernel.read_bytes / 4 / lanes
    vectors = multiplies + loads + operations + results
    return Instructions(
        multiply=0.0 if target.arithmetic.data == HALF else multiplies,
        half=multiplies if target.arithmetic.data == HALF else 0.0,
        vector=operations,
        load=loads,
        load_bytes=loads * lanes * width,
        store=results,
        store_bytes=results * lanes * width,
        scalar=vectors * _SCALAR + _CALL,
        branch=vectors * _BRANCH,
    )


def _channels(kernel: Kernel) -> int:
    """The values that lie side by side in the result."""
    out = kernel.workload.out
    if not kernel.macs or not out:
        return max(1, prod(out))
    return max(1, out[1] if len(out) > 2 else out[-1])


def _without_products(kernel: Kernel, lanes: int) -> float:
    return max(kernel.read_bytes, kernel.written_bytes) / 4 / lanes * (_VECTOR_OPERATIONS + len(kernel.tail.operators))
