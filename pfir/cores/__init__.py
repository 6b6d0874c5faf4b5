"""The processor cores that pfir can cost: peaks, clocks, caches, and what instructions take, each with its source."""

from pfir.cores.arm import CORES, CORES_32, DOT_CORES, FP16_CORES, I8MM_CORES
from pfir.cores.records import Core, Costs, Errors
from pfir.cores.x86 import VNNI_CORES, X86_LEVELS

__all__ = [
    "CORES",
    "CORES_32",
    "DOT_CORES",
    "FP16_CORES",
    "I8MM_CORES",
    "VNNI_CORES",
    "X86_LEVELS",
    "Core",
    "Costs",
    "Errors",
]
