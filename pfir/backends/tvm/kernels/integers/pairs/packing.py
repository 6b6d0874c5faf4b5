"""Weights of eight bits as kernels by pairs of products read them.

Packed weights are flat: for each group and block `[KH, KW, steps, vectors, C, channels of a vector, T]`: T inputs stand
together, and C groups of them, of the last step perhaps fewer, are chained.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.integers.groups import cut
from pfir.backends.tvm.kernels.integers.packing import pack
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, PairBlocks, PairVectors


def packed_for(schedule: DotBlocks | PairBlocks, weight: np.ndarray, layer: Layer) -> np.ndarray:
    """Weights `[G*O, I, KH, KW]` int8 as the kernel of a schedule reads them, flat."""
    group, inner = layer.spec["group"], layer.runs[1]
    if layer.one_run:
        weight = weight.transpose(0, 3, 1, 2).reshape(len(weight), inner, -1, 1)
    return packed_blocks(schedule, weight, group, inner)


def packed_blocks(
    schedule: DotBlocks | PairBlocks, weight: np.ndarray, group: int, inner: int, count: int | None = None
) -> np.ndarray:
    """`[G*O, I, KH, KW]` int8 -> flat, as the kernel of a schedule reads it.

    Args:
        inner: Input channels of a group in the image that is read.
        count: Blocks, all of the schedule's first kind; None for as many as it says itself.
    """
    blocks = schedule.blocks if count is None else (replace(schedule.blocks[0], count=count),)
    if isinstance(schedule, DotBlocks):
        return pack(weight, group, blocks, inner, schedule.together)
    return pack_pairs(weight, group, blocks, inner, schedule.together, PAIR_VECTORS[schedule.dot])


def pack_pairs(
    weight: np.ndarray, group: int, blocks: tuple[Block, ...], inner: int, together: int, vectors: PairVectors
) -> np.ndarray:
    """`[G*O, I, KH, KW]` int8 -> flat, as the kernel reads it.

    Args:
        inner: Input channels of a group in the image that is read: I, or more where a copy has some beside.
        together: Inputs of a channel side by side in a vector of weights.
    """
    flat, found, at = pack(weight, group, blocks, inner, together), [], 0
    steps, taps = steps_of(inner, together, vectors), weight.shape[2] * weight.shape[3]
    for block in [each for each in blocks for _ in range(each.count)] * group:
        shape = (taps, sum(len(step) for step in steps), block.channels, together)
        size = int(np.prod(shape))
        found.append(_chained(flat[at : at + size].reshape(shape), block, steps, vectors))
        at += size
    return np.concatenate(found)


def steps_of(length: int, together: int, vectors: PairVectors) -> list[range]:
    """The groups of a run that are chained in each step."""
    found, steps, at = cut(length, together), [], 0
    loads = [groups for groups, count in found.loads(vectors.pieces(together)) for _ in range(count)]
    for groups in loads + ([found.last.groups - found.last.skipped] if found.last else []):
        steps += [range(at + e, at + min(e + vectors.chained, groups)) for e in range(0, groups, vectors.chained)]
        at += groups
    return steps


def _chained(weights: np.ndarray, block: Block, steps: list[range], vectors: PairVectors) -> np.ndarray:
    """`[taps, groups, channels, T]` -> flat, vectors of a step behind one another."""
    taps, _, _, together = weights.shape
    starts = np.cumsum([0, *block.lanes])
    found = []
    for step in steps:
        for begin, width in zip(starts, block.lanes, strict=False):
            held = 2 * vectors.lanes_of(width, together) // together
            some = weights[:, step.start : step.stop, begin : begin + width]
            some = some.reshape(taps, len(step), width // held, held, together)
            found.append(some.transpose(0, 2, 1, 3, 4).reshape(taps, -1))
    return np.concatenate(found, axis=1).reshape(-1)
