"""What of a request can be found wrong before its model is loaded: target, device, passes, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pfir.backends import known_backend, open_backend
from pfir.backends.base import Backend
from pfir.compile.delivery import check_depfile
from pfir.compile.measuring.latency import run_device
from pfir.compile.prepare import check_passes, wanted_target
from pfir.compile.request import Request
from pfir.data import parse_preprocess
from pfir.devices.base import Device
from pfir.target import Target


@dataclass(frozen=True)
class Checked:
    """What the names in a request stand for; the device is not connected yet."""

    target: Target
    backend: Backend
    device: Device


def check_early(request: Request, note: Callable[[str], None]) -> Checked:
    """The parts of a run that its options name.

    Args:
        request: What is asked.
        note: Told what a user should know of what lies in the cache.

    Raises:
        UsageError: One is not known, contradicts another, or cannot be read or written.
    """
    check_depfile(request)
    if request.preprocess is not None:
        parse_preprocess(request.preprocess)
    target = wanted_target(request)
    request.where.check(known_backend(request.backend), target)
    check_passes(request, target.lanes)
    backend = open_backend(request.backend, request.tuned, note, smallest=request.goals.size is not None)
    return Checked(target, backend, run_device(request.device, backend, target))
