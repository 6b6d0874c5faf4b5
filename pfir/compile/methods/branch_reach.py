"""Which branches a search would let go, by what they cost: the two ends between which the truth lies."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pfir.compile.methods.branch_ranking import SHARE
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.groups import Branch


def likely_branches(
    scalable: ScalableKernels, branches: Sequence[Branch], device: EstimateDevice, costly_first: bool
) -> tuple[Branch, ...]:
    """As many branches as a search would let go, the costliest first, or the cheapest.

    A search lets those go that matter least, which takes trials to find out: what it can reach lies between the prices
    without the costliest branches and those without the cheapest.
    """

    def saved_s(branch: Branch) -> float:
        return -device.estimate_widths(scalable, dict.fromkeys(branch.groups, 0)).seconds

    waiting, gone = sorted(branches, key=saved_s, reverse=costly_first), []
    while waiting and len(gone) < math.ceil(SHARE * len(branches)):
        gone.append(waiting[0])
        inside = {name for branch in gone for name in branch.groups}
        waiting = [branch for branch in waiting if not inside.issuperset(branch.groups)]
    return tuple(gone)
