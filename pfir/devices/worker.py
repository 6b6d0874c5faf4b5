"""A process of its own that loads libraries and runs them, so that a crash or a hang there is an error here."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pfir.artifact import Artifact
from pfir.errors import DeviceError, RunError
from pfir.system.children import environment, run_module
from pfir.system.scratch import scratch_folder

START_SECONDS = 120.0


class Worker:
    """The parent's handle of a child (`pfir.devices.worker_main`); started on first use, started anew after a fault.

    The two ends talk over a socket pair that no other process can reach, so that pickle is safe between them.

    Args:
        name: How messages call the device.
        threads: Threads that kernels of this process may use, >= 1.
        address: None to run in the child itself, else what the child connects to by RPC: a mapping with
            `host`, `port` and, for a tracker, `key`.
        timeout_s: Longest time one request may take.
        command: What starts the child; the number of its socket is added. None is this Python.
    """

    def __init__(
        self,
        name: str,
        threads: int = 1,
        address: Mapping[str, Any] | None = None,
        timeout_s: float = 600.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self.name, self.threads, self.timeout_s = name, threads, timeout_s
        self._command = tuple(command or run_module("pfir.devices.worker_main"))
        self._address = {**address, "threads": threads} if address else None
        self._process: subprocess.Popen | None = None
        self._pipe: Connection | None = None
        self._loaded: set[str] = set()

    def run(self, artifact: Artifact, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs of one inference, in the artifact's order.

        Raises:
            RunError: The library did not load, refused, or the child crashed or hung in it.
            DeviceError: The child does not start or connect.
        """
        return self._ask("run", self._load(artifact), inputs)

    def run_each(self, artifact: Artifact, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs of an inference for every row of the inputs, joined along their first axis.

        Raises:
            DeviceError: As in `run`.
        """
        return self._ask("run_each", self._load(artifact), inputs)

    def time(self, artifact: Artifact, inputs: list[np.ndarray], repeats: int, min_repeat_s: float) -> list[float]:
        """Seconds of one inference, at least `repeats` times, for about `repeats * min_repeat_s` seconds in all.

        Raises:
            DeviceError: As in `run`.
        """
        return self._ask("time", self._load(artifact), inputs, repeats, min_repeat_s)

    def kernel_seconds(self, artifact: Artifact, inputs: list[np.ndarray], repeats: int) -> dict[str, float]:
        """Seconds that each kernel takes in one inference, all its calls together; the median of so many inferences.

        Raises:
            DeviceError: As in `run`.
        """
        return self._ask("kernel_seconds", self._load(artifact), inputs, repeats)

    def repeat(self, artifact: Artifact, inputs: list[np.ndarray], number: int) -> None:
        """Run `number` inferences and drop their outputs.

        Raises:
            DeviceError: As in `run`.
        """
        self._ask("repeat", self._load(artifact), inputs, number)

    def load_seconds(self, artifact: Artifact) -> float:
        """How long it takes to load the library anew.

        Raises:
            DeviceError: As in `run`.
        """
        self.connect()
        self.forget()
        return self._hand_over(_key(artifact), artifact.files[artifact.library])

    def forget(self) -> None:
        """Drop what was loaded; it is loaded again when it is needed.

        Raises:
            DeviceError: As in `run`.
        """
        if self._loaded:
            self._ask("forget")
        self._loaded = set()

    def connect(self, timeout_s: float = START_SECONDS) -> None:
        """Start the child, and let it connect where there is an address.

        Raises:
            DeviceError: It does not start or connect within the time.
        """
        if self._process is not None:
            return
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [*self._command, str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(TVM_NUM_THREADS=str(self.threads), OMP_NUM_THREADS=str(self.threads)),
                start_new_session=True,
            )
        self._pipe = Connection(here.detach())
        self._ask("open", self._address, timeout_s=timeout_s)

    def close(self, patience_s: float = 5.0) -> None:
        """End the child; it gets `patience_s` seconds to leave, since an RPC server survives only a proper farewell."""
        process, pipe = self._process, self._pipe
        self._process, self._pipe, self._loaded = None, None, set()
        if pipe is not None:
            pipe.close()
        if process is None:
            return
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _load(self, artifact: Artifact) -> str:
        self.connect()
        key = _key(artifact)
        if key not in self._loaded:
            try:
                self._hand_over(key, artifact.files[artifact.library])
            except RunError as error:
                raise RunError(f"{error} (the library is for {artifact.target.triple})") from error
        return key

    def _hand_over(self, key: str, library: bytes) -> float:
        """Let the child load a library; the seconds that it took."""
        # The file is on this side, where it is removed even if the child is killed while it reads.
        with scratch_folder() as folder:
            path = folder / f"{key}.so"
            path.write_bytes(library)
            seconds = self._ask("load", key, str(path))
        self._loaded.add(key)
        return seconds

    def _ask(self, command: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        limit = self.timeout_s if timeout_s is None else timeout_s
        fault = DeviceError if command == "open" else RunError  # all but "open" runs code of a library
        try:
            pipe = self._connected()
            pipe.send((command, arguments))
            if not pipe.poll(limit):
                self.close(patience_s=0)
                raise fault(f"{self.name} did not answer to {command} within {limit:.0f} s")
            state, value = pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionError) as error:
            raise fault(f"{self.name} stopped during {command}: {self._cause()}") from error
        if state == "error":
            if command == "open":
                self.close()
            raise fault(f"{self.name} failed to {command}: {value}")
        return value

    def _connected(self) -> Connection:
        if self._pipe is None:
            raise BrokenPipeError
        return self._pipe

    def _cause(self) -> str:
        process = self._process
        try:
            code = process.wait(timeout=5) if process else None
        except subprocess.TimeoutExpired:
            code = None
        self.close()
        if code == -signal.SIGILL:
            return "illegal instruction; the library was built for another CPU, or is damaged"
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process left with code {code}"


def _key(artifact: Artifact) -> str:
    """The name of a library by its content."""
    return hashlib.sha256(artifact.files[artifact.library]).hexdigest()[:32]
