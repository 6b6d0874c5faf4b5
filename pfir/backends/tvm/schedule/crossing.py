"""Which depthwise convolutions run across their columns, and by which tiles: where whole vectors would waste lanes."""

from __future__ import annotations

from pfir.backends.tvm.counts.convolutions.across import across
from pfir.backends.tvm.counts.convolutions.depthwise import depthwise
from pfir.backends.tvm.schedule.channel_tiles import depthwise_tile
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, DepthwiseTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.target import Target
from pfir.workload import Tail, Workload

# Lanes of whole vectors by those used, from which on it is faster: on 32-bit Arm, in instructions at 7 to 28 columns,
# the strips' own loads are as many as the lanes of 18 channels save; on Zen 4 all that fill no vectors gain but 61 of
# 64. On 64-bit Arm what each way takes is counted, and the other way is taken where that is clearly less.
_WASTE = {"arm64": 1.05, "arm": 1.2, "x86": 1.05}
# Vectors that share the weights of a strip: on Arm two share the addresses, on x86 one is the fastest.
_VECTORS = {"arm64": 2, "arm": 2, "x86": 1}
# Rows of a strip: in the first-level cache more of them would drive each other out, 14 do not on Zen 4.
_ROWS = {"arm64": 32, "arm": 32, "x86": 14}
_BIAS = Tail(bias=True)
# Of the other way's cycles, from where strips waste no lanes and from where they do: less than that is no error of the
# counts, which tell too many for strips over small images.
_CLEARLY, _BY_FAR = 0.95, 0.9
_OTHERS = 2  # registers
_HALVED = 16  # lanes of vectors of which one or three halves do as well


def across_tile(target: Target, workload: Workload, blocks: DepthwiseTile | None = None) -> AcrossTile | None:
    """The tile of a depthwise convolution where it is faster across its columns than by `blocks`, its best other tile;
    None elsewhere."""
    lanes, channels, machine = target.lanes, workload.out[1], "arm64" if target.arm64 else target.triple[:3]
    wasted = -(-channels // lanes) * lanes / channels
    halves = lanes >= _HALVED and channels % (lanes // 2) == 0 and channels < 2 * lanes
    if channels % lanes == 0 or wasted < _WASTE.get(machine, float("inf")) or halves or not _crosses(workload):
        return None
    taps, vectors = workload.kernel[0] * workload.kernel[1], _VECTORS[machine]
    if taps + workload.kernel[0] * vectors + _OTHERS > target.core.vector_registers:
        return None
    rows = -(-workload.out[2] // _ROWS[machine])
    tile = AcrossTile(lanes, vectors, -(-workload.out[2] // rows), target.threads)
    if machine != "arm64":
        return tile
    costs, other = target.core.costs, blocks or depthwise_tile(target, workload)
    strips = costs.cycles(across(target, workload, _BIAS, tile))
    least = costs.cycles(depthwise(target, workload, _BIAS, other))
    return tile if strips * (_BY_FAR if wasted >= _WASTE["arm"] else 1 / _CLEARLY) < least else None


def _crosses(workload: Workload) -> bool:
    """Whether its rows can: each step goes one column on, rows are many enough to share weights, and nothing that
    follows reads other values by their channel."""
    single = workload.strides == workload.dilations == (1, 1) and workload.out[1] == workload.data[1] >= FEWEST_LANES
    return single and workload.out[2] >= 2 * workload.kernel[0] and "reads" not in workload.after
