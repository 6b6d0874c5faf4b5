"""Where a user wants a library to be verified, and whether anything may be fetched for it."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.base import Backend
from pfir.errors import DeviceError, UsageError
from pfir.report.record import Verification
from pfir.target import Target

AUTO, EMULATED, HOST, NONE = "auto", "emulated", "host", "none"
CHOICES = (AUTO, EMULATED, HOST, NONE)


@dataclass(frozen=True)
class Where:
    """The choice of `--verify` and `--offline`.

    Args:
        choice: `auto`, the device of the run, else the emulated one, else the host; `emulated` or `host`, there or
            nowhere; `none`, not at all.
        offline: Nothing may be fetched for the emulated device.

    Raises:
        UsageError: There is no such choice.
    """

    choice: str = AUTO
    offline: bool = False

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise UsageError(f"--verify {self.choice} is not known; it is one of {', '.join(CHOICES)}")

    def check(self, backend: type[Backend], target: Target) -> None:
        """Find out before any work whether there can be such a place.

        Raises:
            UsageError: No emulated device runs libraries of this backend for this target.
        """
        if self.choice == EMULATED and not backend.emulates(target):
            raise UsageError(
                f"--verify emulated: the emulated device runs aarch64 libraries for Linux of the tvm backend, and none "
                f"for {target.name} of {backend.name}; choose auto, host or none"
            )

    def insist(self, found: Verification) -> Verification:
        """The verification, if it was where it had to be.

        Raises:
            DeviceError: It was not possible in the one place that was chosen.
        """
        if self.choice in (EMULATED, HOST) and found.skipped:
            raise DeviceError(f"--verify {self.choice}: the library could not be verified there: {found.skipped}")
        return found


ANYWHERE = Where()
