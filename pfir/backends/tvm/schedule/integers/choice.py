"""Which kernel computes an integer convolution: the one that takes the fewest cycles by counted instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter

from pfir.backends.tvm.counts.integers.dot_blocks import conv_int8
from pfir.backends.tvm.counts.integers.pair_blocks import conv_pairs
from pfir.backends.tvm.schedule.integers.dot_blocks import SDOT, DotBlocks, dot_of
from pfir.backends.tvm.schedule.integers.dot_choice import priced_dots
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, PairBlocks, pairs_of
from pfir.backends.tvm.schedule.integers.pair_choice import priced_pairs
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.integers.sparse_choice import priced_units
from pfir.backends.tvm.schedule.integers.winograd import IntegerWinograd
from pfir.backends.tvm.schedule.integers.winograd_choice import priced_tiles
from pfir.backends.tvm.schedule.product_choice import SPARSE_GAIN
from pfir.target import Target
from pfir.workload import Tail, Workload

IntegerPlan = DotBlocks | PairBlocks | SparseBlocks | IntegerWinograd

_FEWEST = 4  # input values that a run has
_MOST_JOINED = 16  # input channels of groups that are joined
_AFTER = Tail(bias=True, operators=("QuantizeLinear",))


def covers(target: Target, workload: Workload) -> bool:
    """Whether the kernel can be made: the target has products of bytes, and each tap has four values side by side, or a
    copy of few channels gives them."""
    few = workload.group == 1 and workload.channels < _FEWEST
    has = dot_of(target) is not None or pairs_of(target) is not None
    return has and (few or workload.channels >= _FEWEST)


def joined(target: Target, workload: Workload) -> Workload:
    """The same work with as many groups of few channels joined to one as take the fewest cycles; the weights between
    them are zero. Groups of single channels are so where floats would take longer: where dot products by lanes make
    several outputs of each."""
    group, channels = workload.group, workload.channels
    several = channels > 1 or (dot_of(target) == SDOT and workload.out[1] > group)
    if group == 1 or channels >= _FEWEST or not several or not covers(target, replace(workload, group=1)):
        return workload
    counts = [n for n in range(1, group + 1) if group % n == 0 and _FEWEST <= n * channels <= _MOST_JOINED]
    works = [replace(workload, group=group // count) for count in counts or [group]]
    return min(works, key=lambda work: _cycles(target, work))


@lru_cache(maxsize=1 << 12)
def _cycles(target: Target, workload: Workload) -> float:
    """What the best plan takes."""
    plan = integer_plan(target, workload)
    count = conv_int8 if isinstance(plan, DotBlocks) else conv_pairs
    return target.core.costs.cycles(count(target, workload, _AFTER, plan))


def adds_in_16_bits(target: Target) -> bool:
    """Whether two products are added in 16 bits, which those of weights of -128 may overflow."""
    dot = pairs_of(target)
    return dot_of(target) is None and dot is not None and PAIR_VECTORS[dot].chained > 1


def integer_plan(target: Target, workload: Workload) -> IntegerPlan:
    """The plan that takes the fewest cycles, of work that `covers` holds for."""
    return integer_plans(target, workload)[0]


def integer_plans(target: Target, workload: Workload) -> Sequence[IntegerPlan]:
    """A few plans, from the fewest cycles on: by pairs of products or Winograd's tiles where there are no dot products;
    one that skips zeros comes first where it takes so much fewer that this is no error of the costs."""
    priced: list[tuple[float, IntegerPlan]] = [
        (cycles / SPARSE_GAIN, plan) for cycles, plan in priced_units(target, workload)
    ]
    if dot_of(target):
        priced += priced_dots(target, workload)
    else:
        priced += [*priced_pairs(target, workload), *priced_tiles(target, workload)]
    return [plan for _, plan in sorted(priced, key=itemgetter(0))]
