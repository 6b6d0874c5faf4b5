"""Instructions of what follows the sums of a scheduled convolution: parts that are added up, and the tail.

Constants are from disassembly and the grid benchmarks/estimator/grids/conv.py.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

from pfir.backends.tvm.counts.sums import PAIR_BYTES, Sum
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.target import HALF, HALF_TERMS, Target
from pfir.workload import Tail, Workload

# Vector instructions that widen and add a register of a part's sums, and that narrow their total.
_WIDENED, _NARROWED = 4, 2
# Bytes of a vector of results that is a piece of a register's, and results of a tile up to which its loop over them is
# written out; scalar instructions and branches of a vector of them that a loop asks about which exist.
_PIECE, _PIECES, _CHECKED, _CHECKED_ON_X86 = 4, 96, (6, 5), (0.7, 0.5)


def parts_of(work: Workload, unroll: int) -> int:
    """The number of parts that sums of float16 come in, as kernels/parts.py cuts them."""
    inner, taps = work.channels, work.kernel[0] * work.kernel[1]
    return _cut(inner, taps, unroll) if work.dtype == HALF else 1


@lru_cache(maxsize=4096)
def _cut(inner: int, taps: int, unroll: int) -> int:
    if inner * taps <= HALF_TERMS:
        return 1
    even = [n for n in range(1, inner // unroll + 1) if inner % n == 0 and inner // n % unroll == 0]
    return min((n for n in even if inner // n * taps <= HALF_TERMS), default=max(even, default=1))


def add_parts(found: Sum, target: Target, work: Workload, tile: MatrixTile, parts: int) -> None:
    """Add sums in parts: zeros and sums of each part are stored, then all widened, added up, and narrowed again.
    Vectors of a row lie side by side, rows as far apart as all parts take."""
    if parts == 1:
        return
    tiles = work.out[0] * work.out[2] * -(-work.out[3] // tile.rows)
    tiles *= work.group * -(-work.out[1] // work.group // tile.block)
    held, size = tile.rows * tile.vectors, tile.block * target.value_bytes
    near = min(tile.rows, PAIR_BYTES // (parts * size) + 1) if target.arm64 else 0
    moved = near * -(-tile.vectors // 2) + (tile.rows - near) * tile.vectors
    found.compute(tiles, 0, held * (_WIDENED * parts + _NARROWED))
    found.read(tiles * parts, moved, tile.rows * size)
    found.write(tiles * parts, 2 * moved, 2 * tile.rows * size)


def add_results(found: Sum, target: Target, work: Workload, tail: Tail, tile: MatrixTile, looped: bool) -> float:
    """Add what follows the sums: vectors as wide as divides all channels, the bias among what follows; where that is
    one, whole vectors and the rest one by one, all of them where several blocks are read by a loop of their own. The
    result is how many multiply-adds of float32 a tail of float16 has.

    Args:
        looped: Whether the rows of the kernel are a loop.
    """
    out, blocks = work.out[1] // work.group, -(-work.out[1] // work.group // tile.block)
    common = gcd(tile.block, out)
    lanes, odd = min(tile.lanes, common & -common), common % 2 > 0
    arm = by_lane(target)
    asked = odd and blocks > 1 and not (arm and looped)
    if odd and not asked or arm and not (tail.bias or tail.operators):
        lanes = min(tile.lanes, out)
    positions = work.out[0] * work.group * work.out[2] * work.out[3]
    vectors, width = positions * (out // lanes + out % lanes), lanes * target.value_bytes
    each = tail_of_vector(tail, width, work.dtype)
    # Pieces are read from the stack where a loop writes them; sums of which some do not exist lie there, too.
    many = not arm or tile.rows * tile.block > _PIECES
    pieces = 2 * (width <= _PIECE and (asked or many))
    apart = pieces or odd or not arm
    held = positions * blocks * tile.vectors
    stacked = held * (odd and blocks > 1 and many and not asked)
    checks, (scalar, branch) = (held, _CHECKED) if arm else (vectors, _CHECKED_ON_X86)
    half = work.dtype == HALF
    ragged = lanes < tile.lanes and not (asked and arm)
    found.compute(vectors, each.half if half else each.multiply, each.vector + tail.bias + ragged / 2)
    found.read(vectors, each.load + pieces, each.load_bytes + pieces * width)
    found.write(vectors, 1 if apart else 0.5, width)
    found.read(stacked, 1, target.core.vector_bytes)
    found.write(stacked, 1, target.core.vector_bytes)
    found.steer(checks * asked, scalar, branch)
    return vectors * each.multiply if half else 0.0
