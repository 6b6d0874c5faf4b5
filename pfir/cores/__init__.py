"""The processor cores that pfir can cost: peaks, clocks, caches, and what instructions take, each with its source."""

from pfir.cores.arm import CORES, CORES_32, FP16_CORES
from pfir.cores.records import Core, Costs, Errors
from pfir.cores.x86 import X86_LEVELS

__all__ = ["CORES", "CORES_32", "FP16_CORES", "X86_LEVELS", "Core", "Costs", "Errors"]
