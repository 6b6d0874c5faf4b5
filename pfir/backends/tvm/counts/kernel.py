"""The instructions of any kernel that this backend makes, from what it computes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.artifact import Kernel
from pfir.backends.tvm.tuning.database import NOTHING, Known
from pfir.devices.estimation.plain import plain_instructions
from pfir.instructions import Instructions
from pfir.target import Target


@dataclass(frozen=True)
class KernelCounts:
    """Counts instructions without building; by measured schedules where they are known, as the backend builds.

    Args:
        known: What was measured on the core.
    """

    known: Known = NOTHING

    def __call__(self, kernel: Kernel, target: Target) -> Instructions:
        """The instructions of one call."""
        workload = kernel.workload
        if workload.dtype != target.arithmetic.data:
            workload = replace(workload, dtype=target.arithmetic.data)
        return plain_instructions(kernel, target)
