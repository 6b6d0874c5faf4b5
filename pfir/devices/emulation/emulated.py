"""An aarch64 device emulated by QEMU: it says whether a library is right, never how fast it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.devices.emulation.cached import damage, default_cache
from pfir.devices.emulation.counting import counting_emulator
from pfir.devices.emulation.provision import Emulated, Progress, provision
from pfir.devices.feeds import named, ordered
from pfir.devices.worker import Worker
from pfir.errors import DeviceError
from pfir.instructions import Instructions
from pfir.measurement import Measurement
from pfir.system.children import run_text
from pfir.target import Target

# QEMU's model with the features of the core and, where there is one, nothing beyond them: then code for another core
# stops with an illegal instruction. A55 and A78 share the optional features of A76. `max` has everything.
_MODELS = {
    "generic": "cortex-a53",
    "cortex-a53": "cortex-a53",
    "cortex-a55": "cortex-a76",
    "cortex-a72": "cortex-a72",
    "cortex-a73": "cortex-a72",
    "cortex-a76": "cortex-a76",
    "cortex-a78": "cortex-a76",
    "cortex-x1": "neoverse-n1",
    "neoverse-n1": "neoverse-n1",
    "apple-m1": "max,sve=off",
}


_SYSTEM = "aarch64-linux-gnu"
_ENOUGH, _MOST_RUNS = 10_000_000, 100
"""Instructions that a count is taken over, as Python's own doings vary by some ten thousand: a thousandth of it."""
_START_S, _RUN_S, _MACS_PER_S = 1800.0, 300.0, 1e6
"""The longest that starting may take, and one run: some seconds for what is no product, and for products a hundredth of
the speed that an idle machine emulates at. What takes longer hangs."""


Count = Callable[[], np.ndarray]


class EmulatedDevice(Device):
    """Runs aarch64 libraries under emulation, in a process of its own; the first use sets it up.

    Python and TVM take seconds to start under emulation, so that one process on an emulator that counts serves both
    runs and counts; only where there is no such emulator it is a plain one, and nothing is counted.

    Args:
        cache: Folder for the set-up; None is the user's cache folder.
        progress: Called with a line per step of the set-up.
        timeout_s: Longest time one run may take; None goes by its multiply-accumulates.
        offline: Nothing may be fetched for the set-up.
    """

    name = "emulated aarch64"
    measures = False

    def __init__(
        self,
        cache: Path | None = None,
        progress: Progress | None = None,
        timeout_s: float | None = None,
        offline: bool = False,
    ) -> None:
        self._cache, self._progress, self._timeout_s, self._offline = cache, progress, timeout_s, offline
        self._workers: dict[str, Worker] = {}
        self._counts: dict[str, Count] = {}
        self._open = ExitStack()
        self._fault: DeviceError | None = None

    def set_up(self, thorough: bool = False) -> Emulated:
        """Make the device ready; at once where it was before.

        Args:
            thorough: Compare all of it with its checksums.

        Raises:
            DeviceError: It cannot be set up here; says why.
        """
        if self._fault is not None:  # to try again would take as long, and fail as before
            raise self._fault
        try:
            return provision(self._cache, self._progress, self._offline, thorough)
        except DeviceError as error:
            self._fault = error
            raise

    def measure(self, artifact: Artifact) -> Measurement:
        raise DeviceError("an emulated device yields no latency: its times do not follow those of any hardware")

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        _check(artifact)
        arrays = ordered(artifact, inputs)
        return named(artifact, self._ready(artifact).run(artifact, arrays))

    def instructions(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> int | None:
        """How many instructions one inference executes on one thread, or None where nothing here can count them.

        The difference between runs of one length and another, so that loading and feeding do not count.

        Raises:
            RunError: The library does not run.
            DeviceError: The device cannot be set up.
        """
        found = self._counted(artifact, inputs)
        return None if found is None else int(found[0])

    def instructions_by_class(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> Instructions | None:
        """The same by class.

        Raises:
            RunError, DeviceError: As in `instructions`.
        """
        found = self._counted(artifact, inputs)
        return None if found is None else Instructions(*map(float, found[1:]))

    def _counted(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """All instructions, then those of each class, [1 + classes]."""
        _check(artifact)
        arrays = ordered(artifact, inputs)
        worker = self._ready(artifact)
        count = self._counts.get(_model(artifact.target))
        return None if count is None else _instructions(worker, artifact, arrays, count)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        self._counts.clear()
        self._open.close()

    def _ready(self, artifact: Artifact) -> Worker:
        """The process that the library runs in, with the time that it may take."""
        worker = self._worker(_model(artifact.target))
        macs = sum(kernel.macs for kernel in artifact.kernels)
        worker.timeout_s = self._timeout_s or _RUN_S + macs / _MACS_PER_S
        return worker

    def _worker(self, model: str) -> Worker:
        """The process on this processor model; one per model."""
        if model not in self._workers:
            self.set_up()
            try:
                self._workers[model], self._counts[model] = self._counting(model)
            except DeviceError as error:
                if self._progress:
                    self._progress(f"instructions are not counted: {error}")
                self._workers[model] = self._start(model)
        return self._workers[model]

    def _counting(self, model: str) -> tuple[Worker, Count]:
        """A process on an emulator that counts, and what reads how many instructions it has executed so far."""
        note = self._progress or (lambda line: None)
        counting = counting_emulator(self._cache or default_cache(), note, self._offline)
        emulator, count = self._open.enter_context(counting.counter())
        return self._start(model, emulator), count

    def _start(self, model: str, emulator: tuple[str, ...] = ()) -> Worker:
        made = self.set_up()
        try:
            return self._connected(made, model, emulator)
        except DeviceError:
            # A damaged file may have the right size and time.
            if damage(made.folder, thorough=True) is None:
                raise
        return self._connected(self.set_up(thorough=True), model, emulator)

    def _connected(self, made: Emulated, model: str, emulator: tuple[str, ...]) -> Worker:
        # The source goes along as text: the emulated Python does not see this one's packages.
        source = files("pfir.devices").joinpath("worker_main.py").read_text(encoding="utf-8")
        command = run_text(source, python=made.command(model, emulator))
        worker = Worker(f"{self.name} ({model.partition(',')[0]})", command=command)
        # Importing TVM takes seconds under emulation, and far more on a busy machine.
        worker.connect(_START_S)
        return worker


def emulates(target: Target) -> bool:
    """Whether it runs what is built for this target."""
    return target.triple.startswith(_SYSTEM)


def _model(target: Target) -> str:
    return _MODELS.get(target.cpu, "max")


def _instructions(worker: Worker, artifact: Artifact, arrays: list[np.ndarray], count: Count) -> np.ndarray:
    """Instructions per inference; the smaller a net is, the more often it runs."""
    worker.repeat(artifact, arrays, 1)
    rough = _slope(worker, artifact, arrays, count, 2)
    number = min(_MOST_RUNS, int(_ENOUGH / max(rough[0], 1)))
    return rough if number <= 2 else _slope(worker, artifact, arrays, count, number)


def _slope(worker: Worker, artifact: Artifact, arrays: list[np.ndarray], count: Count, number: int) -> np.ndarray:
    marks = [count()]
    for runs in (1, 1 + number):
        worker.repeat(artifact, arrays, runs)
        marks.append(count())
    return np.maximum(0, (marks[2] - marks[1]) - (marks[1] - marks[0])) // number


def _check(artifact: Artifact) -> None:
    if artifact.backend != "tvm":
        raise DeviceError(f"the emulated device runs libraries of the tvm backend, not of {artifact.backend}")
    if not emulates(artifact.target):
        triple = artifact.target.triple
        raise DeviceError(f"the emulated device is aarch64 with Linux; this library is built for {triple}")
