import itertools

import numpy as np
import pytest

from pfir.errors import Infeasible
from pfir.passes.bits.programme import Budget, best_bits

BITS = (2, 3, 4, 8)


def _random(seed, layers=5):
    rng = np.random.default_rng(seed)
    names = [f"l{i}" for i in range(layers)]
    loss = {name: dict(zip(BITS, sorted(rng.random(4), reverse=True), strict=True)) for name in names}
    prices = [{name: dict(zip(BITS, sorted(rng.random(4)), strict=True)) for name in names} for _ in range(2)]
    return loss, prices


def _total(table, bits):
    return sum(table[name][count] for name, count in bits.items())


@pytest.mark.parametrize("seed", range(6))
def test_no_other_choice_within_the_budgets_loses_less(seed):
    loss, prices = _random(seed)
    budgets = [Budget(table, 0.45 * len(loss), f"budget {i}") for i, table in enumerate(prices)]
    every = (dict(zip(loss, bits, strict=True)) for bits in itertools.product(BITS, repeat=len(loss)))
    allowed = [bits for bits in every if all(_total(b.prices, bits) <= b.limit for b in budgets)]
    found = best_bits(loss, budgets)
    assert found in allowed
    assert _total(loss, found) == pytest.approx(min(_total(loss, bits) for bits in allowed))


def test_small_numbers_are_told_apart():
    loss = {"a": {2: 3e-12, 8: 1e-12}, "b": {2: 2e-12, 8: 1e-12}}
    prices = {name: {2: 2e-9, 8: 8e-9} for name in loss}
    assert best_bits(loss, [Budget(prices, 10e-9, "seconds")]) == {"a": 8, "b": 2}


def test_a_budget_that_no_choice_keeps_is_refused():
    prices = {"a": {2: 2.0, 8: 8.0}}
    with pytest.raises(Infeasible, match="the average of bits is 1; the fewest bits of every layer cost 2"):
        best_bits({"a": {2: 1.0, 8: 0.0}}, [Budget(prices, 1.0, "the average of bits")])


def test_budgets_that_no_choice_keeps_together_are_refused():
    few, many = {"a": {2: 1.0, 8: 9.0}}, {"a": {2: 9.0, 8: 1.0}}
    with pytest.raises(Infeasible, match="no choice of bits keeps all of bytes, seconds"):
        best_bits({"a": {2: 1.0, 8: 0.0}}, [Budget(few, 2.0, "bytes"), Budget(many, 2.0, "seconds")])
