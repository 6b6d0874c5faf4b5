"""NumPy's linear algebra on one thread, so that the same command gives the same bytes on any number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products and solutions inside run on one thread of BLAS, and outside on as many as before; it decorates, too.

    With more, sums are cut where the number of threads says, and a matrix product differs in its last bits; how many
    there are depends on the cores that the process may use, which even children of one process do not share. These
    matrices have some hundred rows, where a second thread gains little, and where the cores are busy it costs far
    more than it gains: on two of them, loaded, the moments and criteria of ResNet-20 took twelve times as long.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield
