"""Workers of a training as threads of one process, which exchange by memory what processes do by a network."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class _Table:
    """Where each of several threads lays something down, and picks up what all did."""

    def __init__(self, count):
        self.places, self.barrier = [None] * count, threading.Barrier(count, timeout=60)

    def exchanged(self, rank, thing):
        self.places[rank] = thing
        self.barrier.wait()
        found = list(self.places)
        self.barrier.wait()
        return found


class Threads:
    """See Collectives."""

    def __init__(self, table, rank):
        self._table, self.rank, self.count, self.sent_bytes = table, rank, len(table.places), 0

    def mean(self, values):
        self.sent_bytes += values.nbytes
        total = np.sum(self._table.exchanged(self.rank, values.copy()), axis=0, dtype=values.dtype)
        values[:] = total / values.dtype.type(self.count)

    def largest(self, value):
        return max(self._table.exchanged(self.rank, value))

    def gather(self, content):
        self.sent_bytes += len(content)
        return self._table.exchanged(self.rank, content)

    def of_first(self, content):
        return self._table.exchanged(self.rank, content)[0]

    def to_first(self, content):
        given = self._table.exchanged(self.rank, content)
        return [] if self.rank else given

    def from_first(self, contents):
        return self._table.exchanged(self.rank, contents)[0][self.rank]

    def tensor(self, values):
        import torch

        return torch.from_numpy(values)


def together(count, run):
    """What `run` gives for the collective of each of so many workers, in the order of their ranks."""
    table = _Table(count)

    def one(rank):
        try:
            return run(Threads(table, rank))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
