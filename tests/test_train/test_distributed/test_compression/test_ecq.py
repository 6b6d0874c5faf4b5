"""Rounding to a few levels: unbiased, small, and nothing is lost."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.train.distributed.compression.ecq import ErrorCompensated, Quantizer
from pfir.train.flat import FlatBuffer
from tests.support.together import together


def gradient(rank=0, size=3000, step=0):
    random = np.random.default_rng([rank, step])
    return (random.normal(size=size) * np.exp(random.normal(size=size))).astype(np.float32)


@pytest.mark.parametrize("quantizer", [Quantizer(), Quantizer(64, 3), Quantizer(10_000, 127)])
def test_the_mean_of_many_roundings_is_what_was_rounded(quantizer):
    values, random, times = gradient(size=700), np.random.default_rng(0), 2000
    mean = sum(quantizer.decoded(quantizer.encoded(values, random), 700).astype(np.float64) for _ in range(times))
    scale = np.abs(values).max() / quantizer.levels
    assert np.abs(mean / times - values).max() < 5 * scale / 2 / np.sqrt(times)


def test_values_become_multiples_of_their_bucket_s_scale_of_the_same_sign():
    values, quantizer = gradient(), Quantizer(bucket=100)
    rows = quantizer.decoded(quantizer.encoded(values, np.random.default_rng(0)), 3000).reshape(-1, 100)
    scales = np.abs(rows).max(1, keepdims=True)
    assert np.isin(np.abs(rows), [0, *scales.ravel()]).all()
    assert (rows * values.reshape(-1, 100) >= 0).all()
    assert np.allclose(scales, np.abs(values.reshape(-1, 100)).max(1, keepdims=True), rtol=1e-2)


def test_a_tiny_scale_beside_a_large_one_is_rounded_up_rather_than_to_zero():
    values = np.repeat(np.float32([1.0, 1e-9]), 256)
    decoded = Quantizer().decoded(Quantizer().encoded(values, np.random.default_rng(0)), 512)
    assert np.array_equal(decoded[:256], values[:256]) and decoded[256:].max() >= 1e-9


@pytest.mark.parametrize("size", [0, 1, 255, 257])
def test_zeros_stay_zeros(size):
    content = Quantizer().encoded(np.zeros(size, np.float32), np.random.default_rng(0))
    assert np.array_equal(Quantizer().decoded(content, size), np.zeros(size))


def test_normal_values_take_twenty_times_fewer_bytes():
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    assert values.nbytes > 20 * len(Quantizer().encoded(values, np.random.default_rng(1)))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_what_was_sent_and_what_is_left_are_the_sum_of_all_gradients(alpha):
    steps = 5

    def run(group):
        hook, sent = ErrorCompensated(alpha=alpha), np.zeros(3000, np.float32)
        for step in range(steps):
            buffer = FlatBuffer({"w": gradient(group.rank, step=step)})
            hook.reduce(buffer, group)
            sent += buffer.views["w"]
        return sent, hook.left[:3000]

    found = together(2, run)
    assert np.array_equal(found[0][0], found[1][0])
    total = sum(gradient(rank, step=step) for rank in range(2) for step in range(steps)) / 2
    np.testing.assert_allclose(found[0][0] + (found[0][1] + found[1][1]) / 2, total, atol=1e-4)


def test_what_is_left_stays_small():
    def run(group):
        hook, sizes = ErrorCompensated(), []
        for step in range(60):
            hook.reduce(FlatBuffer({"w": gradient(step=step)}), group)
            sizes.append(np.linalg.norm(hook.left))
        return sizes

    (sizes,) = together(1, run)
    assert max(sizes[30:]) < 1.5 * max(sizes[:30])


def test_a_gradient_that_is_not_finite_spoils_this_step_alone():
    def run(group):
        hook = ErrorCompensated()
        values = gradient()
        values[5] = np.inf if group.rank else 0.0
        spoilt, good = FlatBuffer({"w": values}), FlatBuffer({"w": gradient()})
        hook.reduce(spoilt, group)
        hook.reduce(good, group)
        return spoilt.flat, good.flat

    for spoilt, good in together(2, run):
        assert np.isnan(spoilt).all() and np.isfinite(good).all()


def test_forgetting_drops_what_is_left():
    def run(group):
        hook = ErrorCompensated()
        hook.reduce(FlatBuffer({"w": gradient()}), group)
        hook.forget()
        return hook.left

    assert together(1, run) == [None]


@pytest.mark.parametrize("wrong", [{"bucket": 0}, {"levels": 0}, {"levels": 128}])
def test_a_size_out_of_range_is_refused(wrong):
    with pytest.raises(UsageError, match="it must be"):
        Quantizer(**wrong)
