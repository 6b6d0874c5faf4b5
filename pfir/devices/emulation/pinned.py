"""What the emulated device is made of: the wheels by version and hash, and the Debian packages it was tried with."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pfir.errors import DeviceError

_FILE = Path(__file__).with_name("pinned.json")
# The emulated side runs what is compiled on this side, so both are of the same versions.
_SAME = ("apache-tvm", "apache-tvm-ffi")


def digest() -> str:
    """Equal for equal pins, short enough for the name of a folder."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()[:12]


def requirements(python: str) -> str:
    """The wheels for a Python on aarch64, as a requirements file with a hash for each.

    Args:
        python: Its minor version, such as `3.11`.

    Raises:
        DeviceError: No wheels are pinned for it, or another TVM is installed here than is pinned.
    """
    wheels = _pins()["wheels"].get(python)
    if wheels is None:
        raise DeviceError(f"the system's Python is {python}; wheels are pinned for {', '.join(_pins()['wheels'])}")
    for name in _SAME:
        if f"{name}=={version(name)}" not in wheels:
            raise DeviceError(f"{name} {version(name)} is installed, and another one is pinned for the emulated device")
    return "".join(f"{wheel} --hash=sha256:{sha256}\n" for wheel, sha256 in wheels.items())


def check_package(package: Path, release: str) -> None:
    """Make sure that a package whose archive vouches for it is the one that was tried here, or a later one.

    Args:
        package: As apt names files: `name_version_architecture.deb`.
        release: The system's, such as `debian 12`; of one without pins every package passes.

    Raises:
        DeviceError: It has the name and version of a pinned one with another content, or is older.
    """
    name, found, architecture = unquote(package.stem).split("_")
    pinned = _pins()["packages"].get(release, {}).get(f"{name}:{architecture}")
    if pinned is None:
        return
    if found != pinned["version"]:
        if subprocess.run(["dpkg", "--compare-versions", found, "lt", pinned["version"]]).returncode == 0:
            least = pinned["version"]
            raise DeviceError(f"the package {name} on offer is {found}, older than {least}; another mirror is needed")
    elif hashlib.sha256(package.read_bytes()).hexdigest() != pinned["sha256"]:
        raise DeviceError(f"the package {name} {found} is not the one that pfir knows by this version; it is not used")


@cache
def _pins() -> dict[str, Any]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
