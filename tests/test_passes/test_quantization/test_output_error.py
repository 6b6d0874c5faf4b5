import numpy as np
import pytest

from pfir.passes.quantization.output_error import MOST_SAMPLES, OutputError, some_samples
from tests.support.calibration import context
from tests.support.net import parsed, random

NET = "net (float[N,3] x) => (float[N,4] y) { y = MatMul(x, w) }"


def test_a_model_has_no_error_against_itself_and_half_of_it_a_quarter_of_its_squares():
    net, half = (parsed(NET, w=random(3, 4) * factor) for factor in (1, 0.5))
    given = lambda m, names: ({n: v - v.mean(axis=0) for n, v in b.items()} for b in context(net).activations(m, names))  # noqa: E731
    error = OutputError(net, given)
    assert error.of(net) == 0
    assert error.of(half) == pytest.approx(0.25, rel=0.05)


def test_outputs_count_alike_whatever_their_size():
    net = "net (float[N,3] x) => (float[N,4] y, float[N,4] z) {{ y = MatMul(x, w)  z = MatMul(x, v) }}".format()
    right, wrong = (parsed(net, w=random(3, 4) * 1000, v=random(3, 4, seed=2) * f) for f in (1, 0))
    error = OutputError(right, context(right).activations)
    assert 0.4 < error.of(wrong) < 5


def test_no_more_batches_are_run_than_hold_the_samples():
    net, asked = parsed(NET, w=random(3, 4)), []

    def endless(model, names):
        while True:
            asked.append(names)
            yield {name: np.zeros((30, 3), np.float32) for name in names}

    assert len(list(some_samples(net, ["y"], endless, MOST_SAMPLES))) == len(asked) == 3


def test_outputs_that_are_no_numbers_do_not_count():
    error = OutputError(parsed(NET, w=random(3, 4)), lambda m, names: iter([{n: np.array(["a", "b"]) for n in names}]))
    assert error.of(parsed(NET, w=random(3, 4))) == 0
