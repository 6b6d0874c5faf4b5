"""What torch.distributed does for the processes of a training: NCCL where each has a GPU, gloo on CPUs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pfir.errors import UsageError, WorkerError


class Collective:
    """See Collectives: this process among those that torchrun started with it.

    Raises:
        UsageError: This machine has GPUs, but not one for each process on it.
        WorkerError: Another worker went away; so does every method.
    """

    def __init__(self) -> None:
        import torch
        import torch.distributed as dist

        self._torch, self._dist = torch, dist
        self._device = torch.device(device_of())
        with losing_none():
            dist.init_process_group("nccl" if self._device.type == "cuda" else "gloo")
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.sent_bytes = 0

    def mean(self, values: np.ndarray) -> None:
        """See Collectives."""
        self._reduced(values, self._dist.ReduceOp.SUM)
        values /= values.dtype.type(self.count)
        self.sent_bytes += values.nbytes

    def largest(self, value: float) -> float:
        """See Collectives."""
        values = np.array([value], np.float32)
        self._reduced(values, self._dist.ReduceOp.MAX)
        self.sent_bytes += values.nbytes
        return float(values[0])

    def gather(self, content: bytes) -> list[bytes]:
        """See Collectives. Two operations: the lengths, then all contents at the longest one's."""
        lengths = self._lengths(content)
        parts = self._gathered(_padded(content, lengths)).reshape(self.count, -1)
        self.sent_bytes += 8 + len(content)
        return [part[:n].tobytes() for part, n in zip(parts, lengths, strict=True)]

    def to_first(self, content: bytes) -> list[bytes]:
        """See Collectives."""
        lengths, first = self._lengths(content), self.rank == 0
        own = self.tensor(_padded(content, lengths))
        parts = [self._torch.empty_like(own) for _ in lengths] if first else None
        with losing_none():
            self._dist.gather(own, parts, 0)
        return [part.cpu().numpy()[:n].tobytes() for part, n in zip(parts or (), lengths, strict=first)]

    def from_first(self, contents: list[bytes]) -> bytes:
        """See Collectives."""
        told = self.of_first(np.array([len(content) for content in contents], np.int64).tobytes())
        lengths = np.frombuffer(told, np.int64)
        parts = [self.tensor(_padded(content, lengths)) for content in contents]
        own = self.tensor(_padded(b"", lengths))
        with losing_none():
            self._dist.scatter(own, parts or None, 0)
        return own.cpu().numpy()[: lengths[self.rank]].tobytes()

    def tensor(self, values: np.ndarray) -> Any:
        """See Collectives."""
        return self._torch.from_numpy(values).to(self._device)

    def of_first(self, content: bytes) -> bytes:
        """See Collectives."""
        length = self.tensor(np.array([len(content)], np.int64))
        with losing_none():
            self._dist.broadcast(length, 0)
            given = content.ljust(1) if self.rank == 0 else bytes(max(1, int(length)))
            values = self.tensor(np.frombuffer(given, np.uint8).copy())
            self._dist.broadcast(values, 0)
        return values.cpu().numpy().tobytes()[: int(length)]

    def close(self) -> None:
        """Leave the group."""
        self._dist.destroy_process_group()

    def _reduced(self, values: np.ndarray, how: Any) -> None:
        tensor = self.tensor(values)
        with losing_none():
            self._dist.all_reduce(tensor, how)
        if self._device.type != "cpu":
            values[:] = tensor.cpu().numpy()

    def _lengths(self, content: bytes) -> np.ndarray:
        """Of the workers' contents, int64 [count]."""
        return self._gathered(np.array([len(content)], np.int64))

    def _gathered(self, values: np.ndarray) -> np.ndarray:
        """The workers' values one after another."""
        whole = self.tensor(np.zeros(self.count * values.size, values.dtype))
        with losing_none():
            self._dist.all_gather(list(whole.chunk(self.count)), self.tensor(values))
        return whole.cpu().numpy()


def _padded(content: bytes, lengths: np.ndarray) -> np.ndarray:
    """The content, and zeros up to the greatest of these lengths, at least 1; uint8."""
    padded = np.zeros(max(1, int(lengths.max())), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    return padded


@contextmanager
def losing_none() -> Iterator[None]:
    """What PyTorch says where another process is gone becomes a WorkerError."""
    try:
        yield
    except RuntimeError as error:
        raise WorkerError(f"lost the other workers: {str(error).splitlines()[0]}") from error


def device_of() -> str:
    """The GPU of this process, from then on PyTorch's current one; `cpu` where there are none.

    Raises:
        UsageError: There are fewer than processes.
    """
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    here, place = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    if here > torch.cuda.device_count():
        raise UsageError(
            f"{here} processes and {torch.cuda.device_count()} GPUs on this machine; each needs one of its own: give a "
            "smaller --nproc, or an empty CUDA_VISIBLE_DEVICES to train on the CPU"
        )
    torch.cuda.set_device(place)
    return f"cuda:{place}"
