"""Which tiles a 3x3 convolution over integers of eight bits is computed by, on cores without dot products."""

from __future__ import annotations

from operator import itemgetter

from pfir.backends.tvm.counts.integers.winograd import winograd_int8
from pfir.backends.tvm.schedule.algorithms import OUTPUTS, beyond_cache, largest_strip
from pfir.backends.tvm.schedule.blocks import NHWC
from pfir.backends.tvm.schedule.integers.pair_blocks import SMULL, VMULL, pairs_of
from pfir.backends.tvm.schedule.integers.winograd import POINT_BYTES, POINTS, IntegerWinograd
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, shared
from pfir.target import Target
from pfir.workload import Tail, Workload

# The most rows of a register tile of so many vectors, of 32 registers and of 16, as LLVM's assembly shows.
_ROWS = ((1, 8), (2, 8), (3, 7), (4, 5), (5, 4), (6, 4))
_ROWS_OF_FEW = ((1, 4), (2, 2), (3, 2), (4, 1))
_MANY = 32  # registers
# Input channels up to which sums of tiles of 4x4 are exact by weights whose mean magnitude is under a half.
_MOST_CHANNELS = 256
_STRIP_SHARE = 4  # of the second-level cache
_FEW = 2  # plans by tiles of each size that are worth measuring


def priced_tiles(target: Target, workload: Workload) -> list[tuple[float, IntegerWinograd]]:
    """A few plans by tiles of each size and their cycles, from the fewest on; none of work that these kernels do not
    cover."""
    if not covers_tiles(target, workload):
        return []
    sizes = OUTPUTS if workload.channels <= _MOST_CHANNELS else OUTPUTS[1:]
    found = [priced for outputs in sizes for priced in _priced(target, workload, outputs)]
    return sorted(found, key=itemgetter(0))


def covers_tiles(target: Target, workload: Workload) -> bool:
    """Whether the kernel can be made: 3x3 over channels side by side, nothing strided, dilated or grouped, where a core
    multiplies 16 bits by a lane of a register."""
    single = workload.strides == workload.dilations == workload.spread == (1, 1)
    square = single and workload.group == 1 and workload.kernel == (3, 3) and workload.order == NHWC
    return square and min(workload.channels, workload.out[1]) >= FEWEST_LANES and pairs_of(target) in (SMULL, VMULL)


def _priced(target: Target, workload: Workload, outputs: int) -> list[tuple[float, IntegerWinograd]]:
    """A few plans by tiles of this size and their cycles, from the fewest on."""
    after, weights = Tail(bias=True, operators=("QuantizeLinear",)), workload.channels * workload.out[1]
    fetched = beyond_cache(target, POINT_BYTES * (outputs + 2) ** 2 * weights)
    plans = _plans(target, workload, outputs)
    cycles = [target.core.costs.cycles(winograd_int8(target, workload, after, plan)) + fetched for plan in plans]
    return sorted(zip(cycles, plans, strict=True), key=itemgetter(0))[:_FEW]


def _plans(target: Target, workload: Workload, outputs: int) -> list[IntegerWinograd]:
    """All of them by tiles of this size."""
    many, strip, found = target.core.vector_registers >= _MANY, _strip(target, workload, outputs), []
    tiles = strip * -(-workload.out[3] // outputs)
    for vectors, rows in _ROWS if many else _ROWS_OF_FEW:
        tile = shared(MatrixTile(FEWEST_LANES, vectors, min(rows, tiles), POINTS, target.threads), tiles)
        if _fits(workload.out[1], tile):
            lanes = POINTS if many else FEWEST_LANES
            found.append(IntegerWinograd(outputs, strip, lanes, tile, pairs_of(target) or SMULL))
    return found


def _fits(channels: int, tile: MatrixTile) -> bool:
    """Whether the tile is no wider than all channels, and the last block has none or a vector at least."""
    rest = channels % tile.block
    return tile.block - tile.lanes < channels and (rest == 0 or rest >= FEWEST_LANES)


def _strip(target: Target, workload: Workload, outputs: int) -> int:
    """Rows of tiles in a strip: as many as leave room in the second-level cache, and strips for every thread."""
    batch, _, height, width = workload.out
    row_bytes = POINT_BYTES * -(-width // outputs) * (outputs + 2) ** 2 * workload.channels
    most = target.core.l2_bytes // _STRIP_SHARE // row_bytes
    return largest_strip(batch, -(-height // outputs), target.threads, most)
