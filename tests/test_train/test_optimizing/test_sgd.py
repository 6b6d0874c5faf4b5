"""The optimizer follows its formulas."""

import numpy as np
import pytest

from pfir.train.optimizing.sgd import NesterovSgd


def test_two_steps_equal_nesterov_by_hand():
    optimizer, p = NesterovSgd(1, momentum=0.5), np.array([1.0], np.float32)
    optimizer.step(p, np.array([0.2], np.float32), rate=0.1)
    assert p[0] == pytest.approx(1 - 0.1 * (0.2 + 0.5 * 0.2))
    before = p[0]
    optimizer.step(p, np.array([0.4], np.float32), rate=0.1)
    velocity = 0.5 * 0.2 + 0.4
    assert p[0] == pytest.approx(before - 0.1 * (0.4 + 0.5 * velocity))


def test_decay_pulls_only_where_it_is_set():
    optimizer, p = NesterovSgd(2, np.array([0.1, 0], np.float32), momentum=0), np.ones(2, np.float32)
    optimizer.step(p, np.zeros(2, np.float32), rate=1.0)
    np.testing.assert_allclose(p, [0.9, 1.0])


def test_a_long_gradient_is_shortened_and_a_short_one_is_not():
    for length, expected in ((10.0, 2.0), (1.0, 1.0)):
        p = np.zeros(1, np.float32)
        NesterovSgd(1, momentum=0, clip=2.0).step(p, np.array([length], np.float32), rate=1.0)
        assert p[0] == pytest.approx(-expected)
