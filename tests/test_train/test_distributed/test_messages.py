"""States travel as bytes."""

import numpy as np

from pfir.train.checkpoint import State
from pfir.train.distributed.messages import packed_state, state_of


def test_a_state_comes_back():
    state = State(
        {"facts": np.arange(3.0), "now/w": np.zeros((2, 0), np.float32)}, {"key": "k", "curve": [{"step": 1}]}
    )
    back = state_of(packed_state(state))
    assert back.facts == state.facts and list(back.arrays) == list(state.arrays)
    assert all(np.array_equal(back.arrays[n], x) and back.arrays[n].dtype == x.dtype for n, x in state.arrays.items())


def test_no_state_comes_back_as_none():
    assert state_of(packed_state(None)) is None
