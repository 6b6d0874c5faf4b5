"""Which of several libraries that compute the same is the fastest on a device, against noise and luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pfir.artifact import Artifact
from pfir.compile.measuring.verification import verify
from pfir.devices.base import Device
from pfir.devices.feeds import sample

LEAST_GAIN = 1.03
FIRST, AGAIN, DUEL = 2, 3, 7
KEPT = 3


@dataclass(frozen=True)
class Fastest:
    """What was found.

    Args:
        index: Of the fastest; 0 where none is faster than the first by more than noise.
        gain: The first one's time as a multiple of the fastest one's; 1 where that is the first.
        seconds: Of the first one and the fastest, medians.
        rival_gain: Of the most promising other one, whether it was enough or not; 1 without another.
    """

    index: int
    gain: float
    seconds: tuple[float, float]
    rival_gain: float


def fastest(libraries: Sequence[Artifact], device: Device) -> Fastest:
    """Whether another library beats the first.

    All are measured in turn, the best `KEPT` of the others again. The best of these then meets the first in
    measurements of their own, since the best of many owes a part of its lead to luck: it wins by a median of at least
    `LEAST_GAIN`, with three rounds in four above the half of that gain. Its outputs are those of the first.

    Raises:
        DeviceError: The device does not answer, or yields no latency.
        VerifyError: The winner computes something else.
    """
    times: dict[int, list[float]] = {i: [] for i in range(len(libraries))}
    _measure(libraries, range(len(libraries)), device, FIRST, times)
    others = sorted(range(1, len(libraries)), key=lambda i: np.median(times[i]))[:KEPT]
    _measure(libraries, others, device, AGAIN, times)
    if not others:
        return Fastest(0, 1.0, (float(np.median(times[0])),) * 2, 1.0)
    return _duel(libraries, min(others, key=lambda i: np.median(times[i])), device)


def _duel(libraries: Sequence[Artifact], rival: int, device: Device) -> Fastest:
    times: dict[int, list[float]] = {0: [], rival: []}
    _measure(libraries, (0, rival), device, DUEL, times)
    gains = np.divide(times[0], times[rival])
    gain, mostly = float(np.median(gains)), float(np.percentile(gains, 25))
    first, best = float(np.median(times[0])), float(np.median(times[rival]))
    if gain < LEAST_GAIN or mostly < 1 + (LEAST_GAIN - 1) / 2:
        return Fastest(0, 1.0, (first, first), gain)
    feeds = {spec.name: array for spec, array in zip(libraries[0].inputs, sample(libraries[0]), strict=True)}
    cases = ((feeds, device.run(libraries[0], feeds)),)
    verify(libraries[rival], device, cases, libraries[rival].target.arithmetic)
    return Fastest(rival, gain, (first, best), gain)


def _measure(
    libraries: Sequence[Artifact], which: Sequence[int], device: Device, rounds: int, times: dict[int, list[float]]
) -> None:
    """Add a measurement of each to `times`, one after the other, so many times; every second round backwards."""
    for n in range(rounds):
        for i in which if n % 2 == 0 else reversed(which):
            times[i].append(device.measure(libraries[i]).seconds)
