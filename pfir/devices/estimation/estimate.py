"""The latency estimator: counted instructions by class, times what each costs the core; the default device.

    seconds = (instructions * costs / threads + call) / clock + what the caches do not hold / bandwidth

Who makes a kernel says what it executes: the TVM backend by its own loops, checked against counts of the emulated
device. What an instruction costs was fitted to published latencies of boards (`pfir.devices.estimation.fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pfir.artifact import Artifact, Kernel
from pfir.devices.base import Device
from pfir.devices.estimation.plain import plain_instructions
from pfir.errors import DeviceError, UsageError
from pfir.instructions import Instructions
from pfir.ir.costs.scalable import Key, ScalableKernels
from pfir.measurement import ESTIMATED, Measurement
from pfir.target import FLOAT32, Target

EXPECTED_ERROR = 0.48
FLOAT_BYTES = 4
THREAD_SCALING = 0.8
Count = Callable[[Kernel, Target], Instructions]
"""What says how many instructions a kernel executes on a target, without building it."""


class EstimateDevice(Device):
    """Estimates latencies for a target without any hardware.

    Args:
        target: The core and threads that are costed.
        count: Instructions of a kernel.
        factor: Estimates are multiplied by it (from calibration), > 0.
        error: The relative error to expect; None is that of the core.
        basis: What the factor rests on, for the measurement's detail.
    """

    runs = measures = False
    estimates = True

    def __init__(
        self,
        target: Target,
        count: Count = plain_instructions,
        factor: float = 1.0,
        error: float | None = None,
        basis: str = "",
    ) -> None:
        if not factor > 0:
            raise UsageError(f"a calibration factor is {factor}; it must be above 0")
        self.target, self.count, self.factor, self.basis = target, count, factor, basis
        self.error = EXPECTED_ERROR if error is None else error
        self.name = f"estimate {target.name}"
        self._known: dict[object, float] = {}
        self._widths: dict[ScalableKernels, dict[Key, float]] = {}

    @property
    def detail(self) -> str:
        """The model, the core that it assumes, and its error."""
        core, threads = self.target.core, self.target.threads
        clock = f"{core.clock_hz / 1e9:.2f} GHz"
        text = f"counted instructions for {core.name} at {clock}, {threads} thread{'s' if threads > 1 else ''}"
        text += "" if self.target.arithmetic == FLOAT32 else f", {self.target.arithmetic.about}"
        return f"{text}, {self.basis or 'not calibrated'}, expected error {self.error:.0%}"

    def seconds(self, kernel: Kernel) -> float:
        """What one call of a kernel takes."""
        key = (kernel.family, kernel.macs, kernel.read_bytes, kernel.written_bytes, kernel.workload, kernel.tail)
        if key not in self._known:
            self._known[key] = self._seconds(kernel)
        return self._known[key]

    def estimate(self, kernels: Sequence[Kernel]) -> Measurement:
        """The latency of a net that runs these kernels one after another.

        Raises:
            UsageError: There is no kernel.
        """
        if not kernels:
            raise UsageError("no kernels: there is nothing to estimate")
        return self._measurement(sum(map(self.seconds, kernels)))

    def estimate_widths(self, scalable: ScalableKernels, kept: Mapping[str, int]) -> Measurement:
        """The latency of the kernels of a model that keeps so many channels of each group, as `estimate` says; some ten
        microseconds where the widths of each layer were asked for before.

        Raises:
            UsageError: The model lacks a group, or no kernel is left.
        """
        known = self._widths.setdefault(scalable, {})
        total = scalable.total(kept, self.seconds, known)
        if not total > 0:
            raise UsageError("no kernels: there is nothing to estimate")
        return self._measurement(total)

    def scaled(self, factor: float, error: float, basis: str) -> EstimateDevice:
        """The same, its estimates multiplied by a factor that rests on something."""
        return EstimateDevice(self.target, self.count, self.factor * factor, error, basis)

    def measure(self, artifact: Artifact) -> Measurement:
        if not artifact.kernels:
            raise DeviceError(f"the {artifact.backend} artifact lists no kernels, so its latency cannot be estimated")
        return self.estimate(artifact.kernels)

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise DeviceError(f"{self.name} is an estimator and runs nothing; use --device host or rpc://HOST:PORT")

    def __getstate__(self) -> dict[str, object]:
        """Without the prices known so far: another process finds its own."""
        return self.__dict__ | {"_known": {}, "_widths": {}}

    def _measurement(self, seconds: float) -> Measurement:
        return Measurement(seconds, ESTIMATED, self.detail, self.error, 0, self.target.threads)

    def _seconds(self, kernel: Kernel) -> float:
        core, threads = self.target.core, self.target.threads
        cycles = core.costs.cycles(self.count(kernel, self.target)) / threads**THREAD_SCALING + core.costs.call
        moved = (kernel.read_bytes + kernel.written_bytes) * self.target.value_bytes / FLOAT_BYTES
        beyond = max(0.0, moved - core.l2_bytes / 2)
        return self.factor * (cycles / core.clock_hz + beyond / core.bandwidth)
