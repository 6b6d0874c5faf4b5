"""The child of `pfir.devices.worker`: answers its requests to load, run and time libraries with TVM's runtime."""

from __future__ import annotations

import re
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

MOST_REPEATS = 3000
_CHECK = re.compile(r"^Check failed: \(.*?\) is false:? *")  # what TVM puts before its own words
_LOST = re.compile(r"code=(kShutdown|1)$")
ALL_CORES = 1  # TVM's affinity mode: the fastest cores first


class CallTimer:
    """Told by the virtual machine before and after each call: adds up the time of each function by name.

    A function that calls others holds no time of its own: what ends inside of it counts where it ends.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = 0.0

    def __call__(self, function: Any, name: str, before: bool, *_: Any) -> int:
        now = time.perf_counter()
        if not before and not name.startswith("vm.builtin."):
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._began
        self._began = time.perf_counter()
        return 0  # go on


class Runner:
    """Loaded libraries by key, in this process or on the far side of an RPC session."""

    def __init__(self) -> None:
        self._session: Any = None
        self._machines: dict[str, Any] = {}

    def open(self, address: dict[str, Any] | None) -> None:
        """Import the runtime; connect where there is an address."""
        import tvm
        from tvm import rpc

        self._device = tvm.cpu()
        if address is None:
            return
        if address.get("key"):
            tracker = rpc.connect_tracker(address["host"], address["port"])
            self._session = tracker.request(address["key"], max_retry=1)
        else:
            self._session = rpc.connect(address["host"], address["port"])
        self._session.get_function("runtime.config_threadpool")(ALL_CORES, address["threads"])
        self._device = self._session.cpu()

    def load(self, key: str, path: str) -> float:
        """Make a library ready to run; the seconds that it took."""
        from tvm.runtime.vm import VirtualMachine

        start = time.perf_counter()
        self._machines[key] = VirtualMachine(self._module(Path(path)), self._device)
        return time.perf_counter() - start

    def forget(self) -> None:
        self._machines.clear()

    def run(self, key: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        machine = self._machines[key]
        self._feed(machine, inputs)
        machine.invoke_stateful("main")
        return [np.array(output.numpy()) for output in machine.get_outputs("main")]

    def run_each(self, key: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        each = [self.run(key, [x[i : i + 1] for x in inputs]) for i in range(len(inputs[0]))]
        return [np.concatenate(outputs) for outputs in zip(*each, strict=True)]

    def repeat(self, key: str, inputs: list[np.ndarray], number: int) -> None:
        machine = self._machines[key]
        self._feed(machine, inputs)
        for _ in range(number):
            machine.invoke_stateful("main")

    def time(self, key: str, inputs: list[np.ndarray], repeats: int, min_repeat_s: float) -> list[float]:
        machine = self._machines[key]
        self._feed(machine, inputs)
        once = self._timed(machine, 3)[-1]
        return self._timed(machine, int(min(max(repeats * min_repeat_s / max(once, 1e-6), repeats), MOST_REPEATS)))

    def kernel_seconds(self, key: str, inputs: list[np.ndarray], repeats: int) -> dict[str, float]:
        """Seconds by the kernels' names; calls of the virtual machine itself are left out."""
        machine, timers = self._machines[key], [CallTimer() for _ in range(repeats + 1)]
        self._feed(machine, inputs)
        try:
            for timer in timers:
                machine.set_instrument(timer)
                machine.invoke_stateful("main")
        finally:
            machine.set_instrument(lambda *_: 0)
        # The first run pays for what is set up once.
        return {name: float(np.median([t.seconds.get(name, 0.0) for t in timers[1:]])) for name in timers[-1].seconds}

    def _timed(self, machine: Any, repeats: int) -> list[float]:
        """Time each run by itself: the median of single runs does not move where other processes take the core away."""
        timer = machine.time_evaluator("invoke_stateful", self._device, number=1, repeat=repeats)
        return [float(seconds) for seconds in timer("main").results]

    def _module(self, path: Path) -> Any:
        import tvm

        if self._session is None:
            return tvm.runtime.load_module(str(path))
        self._session.upload(str(path))
        module = self._session.load_module(path.name)
        self._session.remove(path.name)
        return module

    def _feed(self, machine: Any, inputs: list[np.ndarray]) -> None:
        import tvm

        machine.set_input("main", *(tvm.runtime.tensor(np.asarray(x, order="C"), self._device) for x in inputs))


def serve(pipe: Connection, runner: Any) -> None:
    """Answer requests by the runner's methods of their names, until the parent closes its end."""
    while True:
        try:
            command, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = ("ok", getattr(runner, command)(*arguments))
        except Exception as error:  # whatever TVM raises goes to the parent as text
            answer = ("error", _last_line(error))
        pipe.send(answer)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _CHECK.sub("", lines[-1]) if lines else ""
    if _LOST.search(text):
        return "the connection was lost: the server ended, or the library crashed there (built for another CPU?)"
    return (text or type(error).__name__)[:300]


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), Runner())
