"""Devices that tests share, as the process of a host takes a second to start and that of an emulated one five."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache

from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.devices.host import HostDevice

_open = ExitStack()


@cache
def host(threads: int = 1) -> HostDevice:
    """This machine; a library that ends the process fails its own test alone, as the next one starts another."""
    return _open.enter_context(HostDevice(threads))


@cache
def emulated() -> EmulatedDevice:
    """64-bit Arm; where it cannot be set up its `set_up` says so each time."""
    return _open.enter_context(EmulatedDevice())


def close() -> None:
    """End their processes."""
    _open.close()
    host.cache_clear()
    emulated.cache_clear()
