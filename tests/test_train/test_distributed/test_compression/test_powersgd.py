"""Low-rank gradients: what they miss comes later, and a state goes on with the same bits."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="its hook is PyTorch's")
import torch.distributed as dist  # noqa: E402

from pfir.train.distributed.compression.base import LEFT, STEP  # noqa: E402
from pfir.train.distributed.compression.ecq import ErrorCompensated  # noqa: E402
from pfir.train.distributed.compression.powersgd import FIRST_STEP, PowerSgd  # noqa: E402
from pfir.train.flat import FlatBuffer  # noqa: E402
from tests.support.together import together  # noqa: E402

STEPS = 6


@pytest.fixture(autouse=True, scope="module")
def group():
    """A group of PyTorch's with one member, this process; one for all tests, since gloo may abort where one follows
    upon another."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradient(step):
    random = np.random.default_rng(step)
    return FlatBuffer({"w": random.normal(size=(20, 30)).astype(np.float32), "b": random.normal(size=5)})


def sent(hook, first, last):
    """What the hook makes of the gradients of these steps, one after another."""

    def run(collective):
        found = []
        for step in range(first, last):
            buffer = gradient(step)
            hook.reduce(buffer, collective)
            found.append(buffer.flat.copy())
        return found

    return together(1, run)[0]


@pytest.mark.parametrize("stop", range(STEPS))
def test_a_state_goes_on_with_the_same_bits(stop):
    whole, first, second = PowerSgd(), PowerSgd(), PowerSgd()
    expected, found = sent(whole, 0, STEPS), sent(first, 0, stop)
    second.restore(first.state())
    found += sent(second, stop, STEPS)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_state_is_a_copy_that_can_be_saved_before_the_next_step():
    hook = PowerSgd()
    sent(hook, 0, STEPS)
    state = hook.state()
    kept = {name: x.copy() for name, x in state.items()}
    sent(hook, STEPS, STEPS + 1)
    assert kept.keys() == {LEFT, STEP, "p", "q"} and all(np.array_equal(kept[n], x) for n, x in state.items())


def test_what_was_sent_and_what_is_left_are_the_sum_of_all_gradients():
    hook = PowerSgd()
    total = sum(sent(hook, 0, STEPS)) + hook.state()[LEFT]
    np.testing.assert_allclose(total, sum(gradient(step).flat for step in range(STEPS)), atol=1e-4)


def test_what_another_compression_left_is_sent():
    other, hook = ErrorCompensated(), PowerSgd()
    total = sum(sent(other, 0, STEPS))
    hook.restore(other.state())
    total = total + sum(sent(hook, STEPS, 2 * STEPS)) + hook.state()[LEFT]
    np.testing.assert_allclose(total, sum(gradient(step).flat for step in range(2 * STEPS)), atol=1e-4)


def test_vectors_are_sent_whole_and_matrices_from_the_third_step_on_by_two_factors():
    found = sent(PowerSgd(), 0, FIRST_STEP + 1)
    assert np.array_equal(found[FIRST_STEP - 1], gradient(FIRST_STEP - 1).flat)
    exact = gradient(FIRST_STEP)
    last = FlatBuffer({name: view * 0 for name, view in exact.views.items()})
    last.flat[:] = found[FIRST_STEP]
    assert np.array_equal(last.views["b"], exact.views["b"])
    assert np.linalg.matrix_rank(last.views["w"]) == 2


def test_forgetting_begins_anew():
    hook = PowerSgd()
    expected = sent(hook, 0, STEPS)
    hook.forget()
    assert all(np.array_equal(a, b) for a, b in zip(sent(hook, 0, STEPS), expected, strict=True))
