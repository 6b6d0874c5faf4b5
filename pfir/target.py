"""What a model is compiled for: a triple, a core with its peaks, and a number of threads."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace

from pfir.errors import UsageError


@dataclass(frozen=True)
class Core:
    """One kind of processor core.

    Args:
        name: LLVM's name for it (`mcpu`).
        macs_per_cycle: Peak float32 multiply-accumulates a cycle.
        clock_hz: Clock assumed.
        bandwidth: Bytes a second that one core streams from memory.
        vector_bytes: Width of a vector register.
        vector_registers: How many of them there are.
        l1_bytes, l2_bytes: Data caches that one core sees.
        source: Where these numbers come from.
    """

    name: str
    macs_per_cycle: float
    clock_hz: float
    bandwidth: float
    vector_bytes: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    source: str


@dataclass(frozen=True)
class Target:
    """Where a library will run.

    Args:
        name: As the user wrote it.
        triple: LLVM's target triple.
        core: The core assumed for cost and tuning.
        cpu: LLVM's `mcpu` for code generation; `generic` uses no optional feature.
        threads: Threads used at run time.
    """

    name: str
    triple: str
    core: Core
    cpu: str = "generic"
    features: tuple[str, ...] = ()
    threads: int = 1

    @property
    def lanes(self) -> int:
        """float32 values in one vector register."""
        return self.core.vector_bytes // 4


def parse_target(text: str) -> Target:
    """The target of a text such as `arm`, `arm:cortex-a76`, `arm:cortex-a53,threads=4`, `armv7`, `rpi4`, `host`.

    Raises:
        UsageError: The target, core or option is not known; the message lists those that are.
    """
    raise NotImplementedError
