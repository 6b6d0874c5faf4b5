"""Where a library runs, or is costed."""

from __future__ import annotations

from pfir.devices.base import Device
from pfir.errors import UsageError
from pfir.target import Target


def open_device(url: str | None, target: Target) -> Device:
    """The device of a text: None (the estimator), `host`, `rpc://HOST:PORT`, or `emulated`.

    Behind an `rpc://` runs TVM's server: whoever reaches its port can run code on the device.

    Raises:
        UsageError: The text names no device.
    """
    if url is None:
        from pfir.devices.estimation.estimate import EstimateDevice

        return EstimateDevice(target)
    if url == "host":
        from pfir.devices.host import HostDevice

        return HostDevice(threads=target.threads)
    if url.startswith("rpc://"):
        from pfir.devices.rpc import RpcDevice

        return RpcDevice(url, target.threads)
    if url == "emulated":
        from pfir.devices.emulation.emulated import EmulatedDevice

        return EmulatedDevice()
    raise UsageError(
        f"device {url!r} is not known; write host, rpc://HOST:PORT or emulated, or leave it out to estimate"
    )
