"""An estimator brought to scale by one net that a device has run."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.artifact import Kernel
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import UsageError
from pfir.measurement import MEASURED, Measurement

# Over 326 published ncnn figures of 14 boards: the mean error once one net per board sets the scale.
CALIBRATED_ERROR = 0.20


def calibrated(estimator: EstimateDevice, measured: Measurement, kernels: Sequence[Kernel]) -> EstimateDevice:
    """The estimator brought to where its estimate of `kernels` is the latency that was measured for them.

    What remains is the error between nets on one device, 20 %, or the measurement's own spread where that is larger.

    Raises:
        UsageError: The latency was estimated, or taken with another number of threads than the target's.
    """
    target = estimator.target
    if measured.source != MEASURED:
        raise UsageError(f"a calibration needs a measured latency, not one that was {measured.source}")
    if measured.threads != target.threads:
        raise UsageError(f"measured with {measured.threads} threads, but target {target.name} has {target.threads}")
    factor = measured.seconds / estimator.estimate(kernels).seconds
    error = max(CALIBRATED_ERROR, measured.spread)
    basis = f"calibrated x{factor:.3g} on one net measured by {measured.detail}"
    return estimator.scaled(factor, error, basis)
