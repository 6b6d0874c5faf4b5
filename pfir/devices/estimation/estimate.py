"""The latency estimator: a roofline per kernel with the register tile's staircase; the default device.

    seconds = max(padded MACs / (u * peak * clock * threads^0.8), bytes / bandwidth) + overhead

u is the core's efficiency, times the family's, times what the register tile loses to loads, to a short reduction
and to channels that do not fill it. It estimates for the kernels that pfir's own TVM backend makes; a 3x3 convolution
costs what the cheapest of three algorithms does (`pfir.devices.estimation.winograd`). Kernels tell their bytes in
float32; of a target that computes in float16 half as many move, and a vector holds twice as many values.

Source: Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009; the tile model is ours: it counts instructions
of the micro-kernel (one multiply-accumulate per vector register of accumulators, and the loads that feed it). Against
326 published ncnn figures on 14 boards such a roofline errs by 48 % on a core it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.artifact import Artifact, Kernel
from pfir.devices.base import Device
from pfir.devices.estimation.register_tiles import EPILOGUE, cheapest_tile
from pfir.devices.estimation.winograd import schedules_for, tiled_work
from pfir.errors import DeviceError, UsageError
from pfir.ir.costs.families import FAMILIES
from pfir.measurement import ESTIMATED, Measurement
from pfir.target import FLOAT32, Target

_NAMES = tuple(family.name for family in FAMILIES)
_SHARE = np.array([family.share for family in FAMILIES])
_TILED = np.array([family.tiled for family in FAMILIES])
_BY_WINOGRAD = _NAMES.index("conv3x3")

EXPECTED_ERROR = 0.48
THREAD_SCALING = 0.8
# From cache a core streams this many bytes a cycle; an L2 line of 64 bytes takes four to eight cycles.
CACHE_BYTES_PER_CYCLE = 8.0
# One call into the virtual machine with its argument checks: assumed, of the order of a microsecond at 3 GHz.
OVERHEAD_CYCLES = 4000.0
THREAD_START_CYCLES = 6000.0
FLOAT_BYTES = 4


@dataclass(frozen=True)
class KernelArrays:
    """Kernels as columns, so that a search can estimate thousands of nets a second; all arrays are [K].

    Args:
        family: The place of each kernel's family in `FAMILIES`.
        macs, read_bytes, written_bytes, channels_out, channels_in: As in `Kernel`.
    """

    macs: np.ndarray
    read_bytes: np.ndarray
    written_bytes: np.ndarray
    family: np.ndarray
    channels_out: np.ndarray
    channels_in: np.ndarray

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> KernelArrays:
        """The columns of these kernels.

        Raises:
            UsageError: A kernel is of a family that no estimate knows.
        """
        for kernel in kernels:
            if kernel.family not in _NAMES:
                raise UsageError(f"kernel {kernel.name}: family {kernel.family!r} is not one of {', '.join(_NAMES)}")
        return cls(
            np.array([k.macs for k in kernels], float),
            np.array([k.read_bytes for k in kernels], float),
            np.array([k.written_bytes for k in kernels], float),
            np.array([_NAMES.index(k.family) for k in kernels], int),
            np.array([k.channels_out for k in kernels], float),
            np.array([k.channels_in for k in kernels], float),
        )


def estimate_seconds(target: Target, kernels: KernelArrays) -> np.ndarray:
    """Seconds of each kernel, [K]."""
    core, threads = target.core, target.threads
    peak = target.macs_per_cycle * core.clock_hz * core.efficiency * threads**THREAD_SCALING
    workload = kernels.macs * tile_cost(target, kernels)
    moved = (kernels.read_bytes + kernels.written_bytes) * target.value_bytes / FLOAT_BYTES
    seconds = np.maximum(workload / (_SHARE[kernels.family] * peak), _memory_seconds(target, moved))
    values = kernels.written_bytes / FLOAT_BYTES
    for schedule in schedules_for(target):
        workload, more = tiled_work(target, schedule, values, kernels.channels_out, kernels.channels_in)
        tiled = np.maximum(workload / peak, _memory_seconds(target, moved + target.value_bytes * more))
        seconds = np.where(kernels.family == _BY_WINOGRAD, np.minimum(seconds, tiled), seconds)
    overhead = OVERHEAD_CYCLES + (THREAD_START_CYCLES if threads > 1 else 0.0)
    return seconds + overhead / core.clock_hz


def tile_cost(target: Target, kernels: KernelArrays) -> np.ndarray:
    """Time per multiply-accumulate relative to the largest tile with a long, aligned reduction, [K].

    Output channels are padded to whole vectors, then to whole tiles of one to four vectors, whichever costs least;
    on Arm, where an instruction multiplies by one lane of a vector, input channels that are no multiple of the lanes
    are loaded one by one, unless padding them costs less. The epilogue weighs on short reductions.
    """
    known = kernels.channels_out > 0
    channels = np.maximum(kernels.channels_out, 1.0)
    vectors = np.ceil(channels / target.lanes)
    reduction = np.maximum(kernels.macs / np.maximum(kernels.written_bytes / FLOAT_BYTES, 1.0), 1.0)
    tiled = cheapest_tile(target, vectors, reduction, kernels.channels_in) / vectors
    plain = (reduction + EPILOGUE) / reduction
    padding = vectors * target.lanes / channels
    return np.where(known, padding * np.where(_TILED[kernels.family], tiled, plain), 1.0)


def _memory_seconds(target: Target, moved: np.ndarray) -> np.ndarray:
    """What fits into half the second-level cache streams from there, the rest from memory."""
    core = target.core
    cached = np.minimum(moved, core.l2_bytes / 2)
    return cached / (CACHE_BYTES_PER_CYCLE * core.clock_hz) + (moved - cached) / core.bandwidth


class EstimateDevice(Device):
    """Estimates latencies for a target without any hardware.

    Args:
        target: The core and threads that are costed.
        factor: Estimates are multiplied by it (from calibration), > 0.
        error: The relative error to expect.
        basis: What the factor rests on, for the measurement's detail.
    """

    runs = measures = False
    estimates = True

    def __init__(self, target: Target, factor: float = 1.0, error: float = EXPECTED_ERROR, basis: str = "") -> None:
        if not factor > 0:
            raise UsageError(f"a calibration factor is {factor}; it must be above 0")
        self.target, self.factor, self.error, self.basis = target, factor, error, basis
        self.name = f"estimate {target.name}"

    @property
    def detail(self) -> str:
        """The model, the core that it assumes, and its error."""
        core, threads = self.target.core, self.target.threads
        clock = f"{core.clock_hz / 1e9:.2f} GHz"
        text = f"roofline for {core.name} at {clock}, {threads} thread{'s' if threads > 1 else ''}"
        text += "" if self.target.arithmetic == FLOAT32 else f", {self.target.arithmetic.about}"
        return f"{text}, {self.basis or 'not calibrated'}, expected error {self.error:.0%}"

    def seconds(self, kernels: KernelArrays) -> np.ndarray:
        """Seconds of each kernel, [K]."""
        return self.factor * estimate_seconds(self.target, kernels)

    def estimate(self, kernels: Sequence[Kernel]) -> Measurement:
        """The latency of a net that runs these kernels one after another.

        Raises:
            UsageError: There is no kernel, or one of an unknown family.
        """
        if not kernels:
            raise UsageError("no kernels: there is nothing to estimate")
        total = float(self.seconds(KernelArrays.of(kernels)).sum())
        return Measurement(total, ESTIMATED, self.detail, self.error, 0, self.target.threads)

    def measure(self, artifact: Artifact) -> Measurement:
        if not artifact.kernels:
            raise DeviceError(f"the {artifact.backend} artifact lists no kernels, so its latency cannot be estimated")
        return self.estimate(artifact.kernels)

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise DeviceError(f"{self.name} is an estimator and runs nothing; use --device host or rpc://HOST:PORT")
