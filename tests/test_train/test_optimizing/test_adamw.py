"""The optimizer follows its formulas."""

import numpy as np
import pytest

from pfir.train.optimizing.adamw import SMALLEST, SQUARE_DECAY, AdamW


def test_three_steps_equal_the_formulas_in_double_precision():
    decay = np.array([0.1, 0, 0.1], np.float32)
    optimizer, p = AdamW(3, decay, momentum=0.8), np.array([1.0, -2.0, 3.0], np.float32)
    expected, mean, square = p.astype(np.float64), np.zeros(3), np.zeros(3)
    for step, gradient in enumerate(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32), start=1):
        mean, square = 0.8 * mean + 0.2 * gradient, SQUARE_DECAY * square + (1 - SQUARE_DECAY) * gradient**2
        moved = (mean / (1 - 0.8**step)) / (np.sqrt(square / (1 - SQUARE_DECAY**step)) + SMALLEST)
        expected -= 0.05 * (moved + decay * expected)
        optimizer.step(p, gradient.copy(), rate=0.05)
    np.testing.assert_allclose(p, expected, rtol=1e-5)


def test_the_first_step_is_the_rate_whatever_the_gradient():
    for length in (1e-3, 1.0, 1e3):
        p = np.zeros(1, np.float32)
        AdamW(1).step(p, np.array([length], np.float32), rate=0.1)
        assert p[0] == pytest.approx(-0.1, rel=1e-4)


def test_decay_pulls_only_where_it_is_set():
    optimizer, p = AdamW(2, np.array([0.1, 0], np.float32)), np.ones(2, np.float32)
    optimizer.step(p, np.zeros(2, np.float32), rate=0.5)
    np.testing.assert_allclose(p, [0.95, 1.0])


def test_gradients_are_clipped_as_a_whole():
    long, short = AdamW(2, clip=1.0), AdamW(2)
    a, b = np.zeros(2, np.float32), np.zeros(2, np.float32)
    for scale in (1.0, 100.0):  # clipped, the second step is no longer than the first
        long.step(a, np.array([0.6, 0.8], np.float32) * np.float32(scale), rate=0.1)
        short.step(b, np.array([0.6, 0.8], np.float32), rate=0.1)
    np.testing.assert_allclose(a, b, rtol=1e-5)
