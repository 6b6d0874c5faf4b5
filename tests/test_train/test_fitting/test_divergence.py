"""Divergence is told from losses: soon where there is one, never where they are noisy."""

import math

import numpy as np
import pytest

from pfir.train.fitting.divergence import diverges, epoch_is_lost, follow, is_steady
from pfir.train.fitting.totals import Totals


def after(*losses, totals=None):
    totals = totals or Totals()
    for loss in losses:
        totals.add([loss])
        follow(totals)
    return totals


def one_epoch(losses):
    """A training whose first epoch had these losses."""
    totals = after(*losses)
    totals.curve.append({})
    totals.begin_epoch()
    totals.settle()
    return totals


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_diverges_at_once(loss):
    assert diverges(after(1.0, loss)) and diverges(after(loss))


def test_two_high_losses_in_a_row_diverge_and_one_does_not():
    assert not diverges(after(5.0, totals=one_epoch([1.0] * 10)))
    assert not diverges(after(5.0, 1.0, 5.0, totals=one_epoch([1.0] * 10)))
    assert diverges(after(5.0, 5.0, totals=one_epoch([1.0] * 10)))


def test_a_climb_in_small_steps_diverges_once_it_is_high():
    totals = one_epoch([1.0] * 10)
    steps = next(n for n in range(1, 99) if diverges(after(1.1**n, totals=totals)))
    assert 1.1 ** (steps - 1) > 4 >= 1.1 ** (steps - 2)


def test_at_the_start_more_is_allowed():
    assert not diverges(after(1.0, 1.0, 9.0, 9.0)) and diverges(after(1.0, 1.0, 12.0, 12.0))


def test_tiny_losses_and_negative_ones_are_no_multiples():
    assert not diverges(after(1e-3, 1e-3, totals=one_epoch([1e-8] * 10)))
    assert not diverges(after(-1.0, -1.0, totals=one_epoch([-2.0] * 10)))
    assert diverges(after(7.0, 7.0, totals=one_epoch([-2.0] * 10)))


def test_a_first_epoch_twice_as_bad_as_its_start_is_lost_unless_there_was_a_retreat():
    totals = after(1.0, 1.0, *[3.0] * 10)
    assert epoch_is_lost(totals)
    totals.retreats = 1
    assert not epoch_is_lost(totals)
    assert not epoch_is_lost(after(1.0, 1.0, *[1.5] * 10))


def test_a_later_epoch_that_ends_high_is_lost():
    assert epoch_is_lost(after(*[3.5] * 8, totals=one_epoch([1.0] * 10)))
    assert not epoch_is_lost(after(*[2.5] * 8, totals=one_epoch([1.0] * 10)))


def test_a_moment_is_steady_only_where_the_loss_stayed():
    assert is_steady(after(*[1.2] * 8, totals=one_epoch([1.0] * 10)))
    assert not is_steady(after(*[2.0] * 8, totals=one_epoch([1.0] * 10)))
    assert not is_steady(after(1.0))


@pytest.mark.parametrize(("spread", "epochs_too"), [(0.3, True), (0.5, False)])
def test_noise_is_no_divergence(spread, epochs_too):
    """Losses that fall from 2 to 0.02 and spread as gamma variates do, by a share of their mean."""
    for seed in range(20):
        random, totals = np.random.default_rng(seed), Totals()
        for epoch in range(40):
            for _ in range(12):
                noise = random.gamma(1 / spread**2, spread**2)
                assert not diverges(after(2 * 0.9**epoch * noise, totals=totals))
            assert not epochs_too or not epoch_is_lost(totals)
            totals.curve.append({})
            totals.begin_epoch()
            totals.settle()
