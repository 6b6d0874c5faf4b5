"""The child process of OrtHost: answers its requests to load, run and time models with ONNX Runtime."""

from __future__ import annotations

import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from pfir.backends.ort.session import open_session
from pfir.devices.worker_main import MOST_REPEATS, serve


class OrtRunner:
    """Sessions by key."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._sessions: dict[str, Any] = {}

    def open(self, address: None) -> None:
        """Import ONNX Runtime; it always runs here."""
        import onnxruntime  # noqa: F401

    def load(self, key: str, path: str) -> None:
        self._sessions[key] = open_session(Path(path).read_bytes(), self._threads)

    def run(self, key: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        session = self._sessions[key]
        return session.run(None, self._feeds(session, inputs))

    def time(self, key: str, inputs: list[np.ndarray], repeats: int, min_repeat_s: float) -> list[float]:
        """Time each run by itself: the median of single runs does not move where other processes take the core away."""
        session = self._sessions[key]
        feeds = self._feeds(session, inputs)
        once = [_seconds(session, feeds) for _ in range(3)][-1]
        count = int(min(max(repeats * min_repeat_s / once, repeats), MOST_REPEATS))
        return [_seconds(session, feeds) for _ in range(count)]

    def _feeds(self, session: Any, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {given.name: array for given, array in zip(session.get_inputs(), inputs, strict=True)}


def _seconds(session: Any, feeds: dict[str, np.ndarray]) -> float:
    start = time.perf_counter()
    session.run(None, feeds)
    return max(time.perf_counter() - start, 1e-9)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[2])), OrtRunner(int(sys.argv[1])))
