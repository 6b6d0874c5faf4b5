"""What instructions take of each Arm core, and how far estimates err: fitted to published latencies of boards.

The numbers stand in fitted.json, which `python benchmarks/estimator/fit.py` writes; how they are found is told in
benchmarks/results/estimator_cores.md.
"""

from __future__ import annotations

import json
from pathlib import Path

from pfir.cores.records import GB, UNFITTED, Costs, Errors

_FITTED = json.loads(Path(__file__).with_name("fitted.json").read_text(encoding="utf-8"))


def fitted_costs(core: str) -> Costs | None:
    """Cycles by class; nothing for a core that was not fitted."""
    return Costs(**_FITTED[core]["costs"]) if core in _FITTED else None


def shared_bandwidth(core: str) -> float:
    """Bytes a second that threads share; 0 for a core of which only one thread was published."""
    return float(_FITTED[core]["shared_gb_s"]) * GB if core in _FITTED else 0.0


def fitted_errors(core: str) -> Errors:
    """How far estimates for this core err."""
    if core not in _FITTED:
        return UNFITTED
    told = dict(_FITTED[core]["errors"])
    return Errors(**{**told, "measured": tuple(told["measured"])})
