"""Every optimizer goes on from its state as if it had never stopped."""

import numpy as np
import pytest

from pfir.train.optimizing.adamw import AdamW
from pfir.train.optimizing.sgd import NesterovSgd


@pytest.mark.parametrize("kind", [NesterovSgd, AdamW])
def test_a_restored_state_gives_the_same_bits(kind):
    gradients = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    first, p = kind(5, clip=1.0), np.ones(5, np.float32)
    for gradient in gradients[:3]:
        first.step(p, gradient.copy(), 0.1)
    state, q = {name: array.copy() for name, array in first.state().items()}, p.copy()
    second = kind(5, clip=1.0)
    second.restore(state)
    for gradient in gradients[3:]:
        first.step(p, gradient.copy(), 0.1)
        second.step(q, gradient.copy(), 0.1)
    np.testing.assert_array_equal(p, q)
    assert any(not np.array_equal(state[n], x) for n, x in second.state().items()), "a state given stays as it is"
