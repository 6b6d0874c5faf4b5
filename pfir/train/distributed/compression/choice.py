"""Which way gradients travel, by name."""

from __future__ import annotations

from pfir.errors import UsageError
from pfir.train.distributed.compression.base import Hook
from pfir.train.distributed.compression.ecq import ErrorCompensated
from pfir.train.distributed.compression.half import Half
from pfir.train.distributed.compression.powersgd import PowerSgd
from pfir.train.distributed.compression.whole import Whole

NONE, FP16, POWERSGD, ECQ = "none", "fp16", "powersgd", "ecq"
COMPRESSIONS = (NONE, FP16, POWERSGD, ECQ)


def check_compression(name: str) -> None:
    """Return only if there is such a compression.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in COMPRESSIONS:
        raise UsageError(f"--compress-gradients {name} is not known; it is one of {', '.join(COMPRESSIONS)}")


def hook_named(name: str, seed: int = 0) -> Hook:
    """The hook of this name; the seed is of what it draws at random.

    Raises:
        UsageError: There is none of this name.
    """
    check_compression(name)
    if name == ECQ:
        return ErrorCompensated(seed)
    if name == POWERSGD:
        return PowerSgd(seed)
    return Half() if name == FP16 else Whole()
