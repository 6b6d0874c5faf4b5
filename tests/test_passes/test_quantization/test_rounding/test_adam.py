"""Adam: the size of its steps, and where it ends."""

import numpy as np
import pytest

from pfir.passes.quantization.rounding.adam import Adam


def test_the_first_step_is_the_rate_against_each_gradient():
    x = np.zeros(3, np.float32)
    Adam((3,)).step(x, np.array([5, -0.01, 0], np.float32), 0.1)
    assert x == pytest.approx([-0.1, 0.1, 0], abs=1e-6)


def test_it_finds_the_least_of_a_bowl():
    x, adam = np.array([3.0, -2.0], np.float32), Adam((2,))
    for _ in range(400):
        adam.step(x, 2 * (x - np.array([1, 0.5], np.float32)), 0.05)
    assert x == pytest.approx([1, 0.5], abs=0.02)
