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
from pfir.devices.estimation.winograd import tiled_work, ways_for
from pfir.errors import DeviceError, UsageError
from pfir.measurement import ESTIMATED, Measurement
from pfir.target import FLOAT32, Target

FAMILIES = ("conv", "conv3x3", "depthwise", "grouped", "dense", "matmul", "pool", "reduce", "elementwise", "move")
# Share of what a 3x3 convolution reaches; from GFLOP/s per class of our kernels on one x86 core (3x3 112, 1x1 110,
# depthwise 34-88, dense 47 of 118). A grouped convolution fills registers no better than a depthwise one.
_FAMILY_SHARE = np.array([1.0, 1.0, 0.5, 0.5, 0.45, 0.8, 0.25, 0.25, 0.25, 0.25])
# Families whose channels are vectorised over the register tile of a matrix product.
_TILED = np.array([True, True, False, False, False, True, False, False, False, False])

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
    """Kernels as columns, so that a search can estimate thousands of nets a second; all arrays are [K]."""

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
            if kernel.family not in FAMILIES:
                raise UsageError(f"kernel {kernel.name}: family {kernel.family!r} is not one of {', '.join(FAMILIES)}")
        return cls(
            np.array([k.macs for k in kernels], float),
            np.array([k.read_bytes for k in kernels], float),
            np.array([k.written_bytes for k in kernels], float),
            np.array([FAMILIES.index(k.family) for k in kernels], int),
            np.array([k.channels_out for k in kernels], float),
            np.array([k.channels_in for k in kernels], float),
        )


def estimate_seconds(
    target: Target,
    macs: np.ndarray,
    read_bytes: np.ndarray,
    written_bytes: np.ndarray,
    family: np.ndarray,
    channels_out: np.ndarray,
    channels_in: np.ndarray,
) -> np.ndarray:
    """Seconds of each kernel; every argument has one shape, `family` indexes FAMILIES, the rest is as in Kernel."""
    core, threads = target.core, target.threads
    peak = target.macs_per_cycle * core.clock_hz * core.efficiency * threads**THREAD_SCALING
    workload = macs * tile_cost(target, macs, written_bytes, family, channels_out, channels_in)
    moved = (read_bytes + written_bytes) * target.value_bytes / FLOAT_BYTES
    seconds = np.maximum(workload / (_FAMILY_SHARE[family] * peak), _memory_seconds(target, moved))
    for schedule in ways_for(target):
        workload, more = tiled_work(target, schedule, written_bytes / FLOAT_BYTES, channels_out, channels_in)
        tiled = np.maximum(workload / peak, _memory_seconds(target, moved + target.value_bytes * more))
        seconds = np.where(family == FAMILIES.index("conv3x3"), np.minimum(seconds, tiled), seconds)
    overhead = OVERHEAD_CYCLES + (THREAD_START_CYCLES if threads > 1 else 0.0)
    return seconds + overhead / core.clock_hz


def tile_cost(
    target: Target,
    macs: np.ndarray,
    written_bytes: np.ndarray,
    family: np.ndarray,
    channels_out: np.ndarray,
    channels_in: np.ndarray,
) -> np.ndarray:
    """Time per multiply-accumulate relative to the largest tile with a long, aligned reduction.

    Output channels are padded to whole vectors, then to whole tiles of one to four vectors, whichever costs least;
    on Arm, where an instruction multiplies by one lane of a vector, input channels that are no multiple of the lanes
    are loaded one by one, unless padding them costs less. The epilogue weighs on short reductions.
    """
    known = channels_out > 0
    channels = np.maximum(channels_out, 1.0)
    vectors = np.ceil(channels / target.lanes)
    reduction = np.maximum(macs / np.maximum(written_bytes / FLOAT_BYTES, 1.0), 1.0)
    tiled = cheapest_tile(target, vectors, reduction, channels_in) / vectors
    plain = (reduction + EPILOGUE) / reduction
    padding = vectors * target.lanes / channels
    return np.where(known, padding * np.where(_TILED[family], tiled, plain), 1.0)


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
        return self.factor * estimate_seconds(self.target, **vars(kernels))

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
