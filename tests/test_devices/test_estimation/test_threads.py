"""Several threads: what more of them may do to a latency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfir.cores import CORES
from pfir.devices.estimation.threads import START_CYCLES, parallel

CORE = CORES["cortex-a72"]
SECONDS = st.floats(1e-6, 1.0)
MOVED = st.floats(0, 1e9)


def _parallel(seconds, moved, threads):
    return parallel(seconds, moved, CORE, threads)


@given(SECONDS, MOVED)
def test_one_thread_takes_what_it_takes(seconds, moved):
    assert _parallel(seconds, moved, 1) == seconds


@given(SECONDS, MOVED, st.integers(2, 64))
def test_threads_gain_at_most_their_number_and_lose_at_most_their_start(seconds, moved, threads):
    start = START_CYCLES / CORE.clock_hz
    assert seconds / threads * 0.999 <= _parallel(seconds, moved, threads) <= (seconds + start) * 1.001


@given(SECONDS, MOVED, st.integers(2, 32))
def test_more_threads_are_never_slower_and_more_bytes_never_faster(seconds, moved, threads):
    assert _parallel(seconds, moved, 2 * threads) <= _parallel(seconds, moved, threads) * 1.000001
    assert _parallel(seconds, 2 * moved, threads) >= _parallel(seconds, moved, threads) * 0.999999


def test_raspberry_pi_4_runs_mobilenet_about_twice_as_fast_on_four_threads():
    """ncnn's page: 123.8 ms and 60.7 ms. What is stored there moves twice, and 4.2 million weights once."""
    moved = 2 * 67.9e6 + 4 * 4.2e6
    assert _parallel(0.1238, moved, 4) == pytest.approx(0.0607, rel=0.1)
