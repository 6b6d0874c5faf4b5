"""The latency estimator: counted instructions by class, times what each costs the core; the default device.

    seconds = sum of instructions * costs / clock + what the caches do not hold / bandwidth

Who makes a kernel says what it executes: the TVM backend by its own loops, checked against counts of the emulated
device. What an instruction costs was fitted to published latencies of boards (`pfir.devices.estimation.fit`), and what
several threads save, too (`pfir.devices.estimation.threads`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pfir.artifact import Artifact, Kernel
from pfir.devices.base import Device
from pfir.devices.estimation.plain import plain_instructions
from pfir.devices.estimation.threads import parallel
from pfir.errors import DeviceError, UsageError
from pfir.instructions import NOTHING, Instructions
from pfir.ir.costs.scalable import Key, Price, ScalableKernels
from pfir.measurement import ESTIMATED, Measurement
from pfir.target import FLOAT32, INT8, Target

FLOAT_BYTES = 4
Count = Callable[[Kernel, Target], Instructions]
"""What says how many instructions a kernel executes on a target, without building it."""


class EstimateDevice(Device):
    """Estimates latencies for a target without any hardware.

    Args:
        target: The core and threads that are costed.
        count: Instructions of a kernel and its call.
        around: Those of an inference beside its kernels.
        more: Bytes of float32 by which the weights that a kernel reads exceed the model's own, such as transformed
            ones; None if none do.
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
        around: Instructions = NOTHING,
        more: Callable[[Kernel, Target], float] | None = None,
        *,
        factor: float = 1.0,
        error: float | None = None,
        basis: str = "",
    ) -> None:
        if not factor > 0:
            raise UsageError(f"a calibration factor is {factor}; it must be above 0")
        self.target, self.count, self.around, self.more = target, count, around, more
        self.factor, self.basis = factor, basis
        self.error = target.core.errors.of(target.arithmetic.name) if error is None else error
        self.name = f"estimate {target.name}"
        self._known: dict[object, float] = {}
        self._widths: dict[ScalableKernels, dict[Key, Price]] = {}

    @property
    def detail(self) -> str:
        """The model, the core that it assumes, and its error."""
        return self._said(self.error)

    def _said(self, error: float) -> str:
        text = self._core if self.target.arithmetic == FLOAT32 else f"{self._core}, {self.target.arithmetic.about}"
        return f"{text}, {self.basis or self._fitted}, expected error {error:.0%}"

    @property
    def _core(self) -> str:
        """What is counted for which core."""
        core, threads = self.target.core, self.target.threads
        clock = f"{core.clock_hz / 1e9:.2f} GHz" + (f" ({core.board})" if core.board else "")
        return f"counted instructions for {core.name} at {clock}, {threads} thread{'s' if threads > 1 else ''}"

    @property
    def _origin(self) -> str:
        return f"{self._core}, {self.basis}"

    @property
    def _fitted(self) -> str:
        """What the core's costs rest on."""
        core = self.target.core
        if core.fitted is None:
            return "costs by its peak"
        seen = self.target.arithmetic.name in core.errors.measured
        return "costs fitted to boards with this core" if seen else "costs fitted to boards with other cores"

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
        seconds, weight_bytes = map(sum, zip(*map(self._price, kernels), strict=True))
        return self._measurement(seconds, weight_bytes, self._error_of(kernels))

    def estimate_widths(self, scalable: ScalableKernels, kept: Mapping[str, int]) -> Measurement:
        """The latency of the kernels of a model that keeps so many channels of each group, as `estimate` says; some ten
        microseconds where the widths of each layer were asked for before.

        Raises:
            UsageError: The model lacks a group, or no kernel is left.
        """
        seconds, weight_bytes = scalable.total(kept, self._price, self._widths.setdefault(scalable, {}))
        if not seconds > 0:
            raise UsageError("no kernels: there is nothing to estimate")
        return self._measurement(seconds, weight_bytes, self.error)

    def scaled(self, factor: float, error: float, basis: str) -> EstimateDevice:
        """The same, its estimates multiplied by a factor that rests on something."""
        made = (self.target, self.count, self.around, self.more)
        return EstimateDevice(*made, factor=self.factor * factor, error=error, basis=basis)

    def measure(self, artifact: Artifact) -> Measurement:
        if not artifact.kernels:
            raise DeviceError(f"the {artifact.backend} artifact lists no kernels, so its latency cannot be estimated")
        return self.estimate(artifact.kernels)

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise DeviceError(f"{self.name} is an estimator and runs nothing; use --device host or rpc://HOST:PORT")

    def __getstate__(self) -> dict[str, object]:
        """Without the prices known so far: another process finds its own."""
        return self.__dict__ | {"_known": {}, "_widths": {}}

    def _error_of(self, kernels: Sequence[Kernel]) -> float:
        """The error to expect of a net of these kernels; integers have one of their own where nothing was measured."""
        is_known = bool(self.basis) or not any(kernel.workload.dtype == INT8 for kernel in kernels)
        return self.error if is_known else max(self.error, self.target.core.errors.of(INT8))

    def _measurement(self, kernels_s: float, weight_bytes: float, error: float) -> Measurement:
        """Of an inference whose kernels take so long, with so many bytes of weights, each read once."""
        core = self.target.core
        around_s = core.costs.cycles(self.around) / core.clock_hz + self._beyond_s(weight_bytes)
        seconds = kernels_s + self.factor * around_s
        return Measurement(seconds, ESTIMATED, self._said(error), error, 0, self.target.threads, self._origin)

    def _price(self, kernel: Kernel) -> Price:
        """Seconds, and bytes of weights as the library has them."""
        more = 0.0 if self.more is None else self.more(kernel, self.target)
        return self.seconds(kernel), (kernel.weight_bytes + more) * self._share(kernel)

    def _seconds(self, kernel: Kernel) -> float:
        core, share = self.target.core, self._share(kernel)
        alone_s = core.costs.cycles(self.count(kernel, self.target)) / core.clock_hz
        alone_s += self._beyond_s((kernel.read_bytes - kernel.weight_bytes + kernel.written_bytes) * share)
        moved = (kernel.read_bytes + kernel.written_bytes) * share
        return self.factor * parallel(alone_s, moved, core, self.target.threads)

    def _share(self, kernel: Kernel) -> float:
        """Bytes of a kernel's floats in the target's arithmetic, of one in float32; integers have as many in any."""
        return 1.0 if kernel.workload.dtype == INT8 else self.target.value_bytes / FLOAT_BYTES

    def _beyond_s(self, size_bytes: float) -> float:
        """What takes its way through memory, of so many bytes."""
        core = self.target.core
        return max(0.0, size_bytes - core.kept_bytes) / core.bandwidth
