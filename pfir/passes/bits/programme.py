"""The best choice of bits for every layer within budgets, as an integer programme that is solved exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.errors import Infeasible

ByLayer = Mapping[str, Mapping[int, float]]
"""A number for each layer and each number of bits that it may have."""


@dataclass(frozen=True)
class Budget:
    """What all layers together may cost at most: bits, bytes or seconds.

    Args:
        prices: What each layer costs by its bits; the programme chooses among these.
        limit: Their sum at most.
        what: What it is called in an error.
    """

    prices: ByLayer
    limit: float
    what: str


def best_bits(loss: ByLayer, budgets: Sequence[Budget]) -> dict[str, int]:
    """The bits of each layer by which the sum of losses is least and every budget is kept.

    Args:
        loss: What each layer loses by its bits, at least 0.
        budgets: At least one; of the layers and bits of `loss`.

    Raises:
        Infeasible: No choice keeps a budget; the error says what the cheapest one costs.

    Source: Yao et al., "HAWQ-V3: Dyadic Neural Network Quantization", ICML 2021, arXiv:2011.10680, section 3.3.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    for budget in budgets:
        _check(budget)
    pairs = [(name, bits) for name, by_bits in loss.items() for bits in by_bits]
    one_each = np.array([[float(name == layer) for name, _ in pairs] for layer in loss])
    prices = np.array([[budget.prices[name][bits] for name, bits in pairs] for budget in budgets])
    # The solver's tolerances are absolute: every row is brought to the order of one.
    limits = np.array([max(budget.limit, np.finfo(np.float64).tiny) for budget in budgets])
    losses = np.array([loss[name][bits] for name, bits in pairs])
    found = milp(
        losses / max(losses.max(), np.finfo(np.float64).tiny),
        integrality=np.ones(len(pairs)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(prices / limits[:, None], -np.inf, 1 + 1e-9)],
    )
    if found.x is None:
        raise Infeasible(f"no choice of bits keeps all of {', '.join(budget.what for budget in budgets)}")
    return {name: bits for (name, bits), share in zip(pairs, found.x, strict=True) if share > 0.5}


def _check(budget: Budget) -> None:
    least = sum(min(by_bits.values()) for by_bits in budget.prices.values())
    if least > budget.limit * (1 + 1e-9):
        raise Infeasible(f"{budget.what} is {budget.limit:g}; the fewest bits of every layer cost {least:g}")
