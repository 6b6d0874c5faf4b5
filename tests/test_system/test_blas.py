"""Linear algebra on one thread: inside, and only there."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pfir.errors import UsageError
from pfir.system.blas import one_blas_thread


def _threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_inside_there_is_one_thread_and_outside_as_many_as_before():
    with threadpool_limits(2, "blas"):
        before = _threads()
        with one_blas_thread():
            assert _threads() == {1}
        assert _threads() == before


def test_a_function_runs_on_one_thread_every_time_and_an_error_does_not_keep_it():
    @one_blas_thread()
    def refused():
        assert _threads() == {1}
        raise UsageError("no")

    with threadpool_limits(2, "blas"):
        before = _threads()
        for _ in range(2):
            with pytest.raises(UsageError):
                refused()
            assert _threads() == before
