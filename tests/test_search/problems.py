"""Small searches that the tests of this room share; scores are importable, so that processes can load them."""

from __future__ import annotations

import os
import time

from pfir.errors import Infeasible
from pfir.search import Problem
from pfir.space import Parameter, Space

SPACE = Space(tuple(Parameter(f"g{i}", 0.0, 0.9, 0.45) for i in range(4)))
WIDTHS = (16, 32, 32, 64)


def cost(parameters):
    """A chain of layers: the work of each is its width times that of the layer before."""
    kept = [1.0, *(1 - r for r in parameters.values())]
    return sum(a * b for a, b in zip(kept, kept[1:], strict=False)) / len(parameters)


def snap(parameters):
    """Whole channels, in fours."""
    return {n: 1 - max(4, round(w * (1 - r) / 4) * 4) / w for (n, r), w in zip(parameters.items(), WIDTHS, strict=True)}


def score(parameters):
    """The first groups are worth most."""
    return -sum(r**2 / (i + 1) for i, r in enumerate(parameters.values())), {"ratios": sum(parameters.values())}


def dying_score(parameters):
    """Kills its process for the second half of the first ratio."""
    if parameters["g0"] > 0.4:
        os._exit(3)
    return score(parameters)


def refusing_score(parameters):
    if parameters["g0"] > 0.4:
        raise Infeasible("too thin")
    return score(parameters)


def broken_score(parameters):
    raise ZeroDivisionError("a fault of ours")


def uneven_score(parameters):
    """As `score`, later for some candidates than for others."""
    time.sleep(0.2 if parameters["g0"] > 0.3 else 0.0)
    return score(parameters)


def slow_score(parameters):
    time.sleep(0.05)
    return score(parameters)


def problem(scoring=score, limit=0.5, **more):
    return Problem(SPACE, cost, limit, scoring, fingerprint="small", **more)
