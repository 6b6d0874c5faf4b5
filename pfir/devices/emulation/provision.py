"""The folder of the emulated aarch64 device: set up once in the user's cache, whole or not at all."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pfir.devices.emulation.apt import PrivateApt, extract_file, run, unpack
from pfir.devices.emulation.cached import default_cache, made_once
from pfir.devices.emulation.pinned import digest, requirements
from pfir.errors import DeviceError
from pfir.system.children import environment, run_module, run_text

RECIPE = 2
Progress = Callable[[str], None]
# The user land that Python and TVM's runtime load; where a release renamed a package, its names newest first.
_PACKAGES = (
    ("libc6",),
    ("libgcc-s1",),
    ("libstdc++6",),
    ("zlib1g",),
    ("libexpat1",),
    ("libssl3t64", "libssl3", "libssl1.1"),
    ("libffi8", "libffi7"),
    ("liblzma5",),
    ("libbz2-1.0",),
    ("libuuid1",),
)
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_24_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
# Names since Debian 13 come without the suffix; both are statically linked.
_QEMU_PACKAGES = ("qemu-user-static", "qemu-user")
_QEMU_FILES = ("usr/bin/qemu-aarch64-static", "usr/bin/qemu-aarch64")
FETCHED = "about 200 MB: Debian packages, QEMU, Python wheels"
# The compiler's library alone is 240 MB, and code is generated on this side.
_LEFT_OUT = ("libtvm_compiler.so", "/include/", "/3rdparty/", "/tests/", "/testing/")


@dataclass(frozen=True)
class Emulated:
    """A finished set-up: an emulator, a user land, and Python packages.

    Args:
        folder: Where it lies.
        growing: It is still being made: Python may keep there what it compiles.
    """

    folder: Path
    growing: bool = False

    @property
    def python(self) -> str:
        return json.loads((self.folder / "about.json").read_text(encoding="utf-8"))["python"]

    def command(self, cpu: str, emulator: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What starts the emulated Python on this processor model of QEMU's; its arguments follow.

        Args:
            cpu: The processor model.
            emulator: The start of another emulator's command line, in place of this set-up's own.
        """
        python = self.folder / "root" / "usr" / "bin" / f"python{self.python}"
        settings = {
            "TVM_USE_RUNTIME_LIB": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            # What the set-up has compiled serves; the folder stays as its checksums say.
            "PYTHONDONTWRITEBYTECODE": "" if self.growing else "1",
            "PYTHONHOME": str(self.folder / "root" / "usr"),
            "PYTHONPATH": str(self.folder / "site"),
        }
        passed = [part for key, value in settings.items() for part in ("-E", f"{key}={value}")]
        emulator = emulator or (str(self.folder / "qemu-aarch64"),)
        machine = ("-cpu", cpu, "-L", str(self.folder / "root"))
        return (*emulator, *machine, *passed, "-U", "LD_LIBRARY_PATH", "-U", "LD_PRELOAD", str(python))


def provision(
    cache: Path | None = None, progress: Progress | None = None, offline: bool = False, thorough: bool = False
) -> Emulated:
    """The set-up, made where it does not exist yet or is damaged (about a minute, 200 MB over the network).

    Args:
        cache: Folder that holds it; None is the user's cache folder.
        progress: Called with a line per step.
        offline: Nothing may be fetched.
        thorough: Read all of it to find what is damaged.

    Raises:
        DeviceError: It cannot be made here; says why.
    """
    if not sys.platform.startswith("linux"):
        raise DeviceError(f"the emulated device needs Linux; this system is {sys.platform}")
    folder, note = (cache or default_cache()) / f"emulated-{RECIPE}-{digest()}", progress or _silent
    return Emulated(made_once(folder, lambda work: _make(work, note), note, offline, thorough))


def _silent(line: str) -> None:
    """Progress that nobody asked for."""


def _make(work: Path, progress: Progress) -> None:
    progress(f"emulated device: fetches {FETCHED}; once, --offline fetches nothing")
    if find_spec("pip") is None:
        raise DeviceError("pip is missing in this Python; `python -m ensurepip` installs it")
    python = _user_land(work, progress)
    _emulator(work, progress)
    _site(work, python, progress)
    (work / "about.json").write_text(json.dumps({"python": python, "recipe": RECIPE}), encoding="utf-8")
    progress("emulated device: check")
    _check(Emulated(work, growing=True))
    progress("emulated device: ready")


def _user_land(work: Path, progress: Progress) -> str:
    """Unpack the arm64 packages into `root`; the Python's minor version."""
    progress("emulated device: package lists (arm64)")
    apt = PrivateApt(work / "apt-arm64", "arm64")
    apt.update()
    names = [apt.first_known(*choice) for choice in _PACKAGES]
    python = _python_version(apt)
    names += [f"python{python}-minimal", f"libpython{python}-minimal", f"libpython{python}-stdlib"]
    progress(f"emulated device: arm64 system with Python {python}")
    root = work / "root"
    for package in apt.download(names, work / "debs"):
        unpack(package, root)
    # Newer packages leave this link to the installer.
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(work / "debs")
    shutil.rmtree(work / "apt-arm64")
    return python


def _python_version(apt: PrivateApt) -> str:
    minimal = [name for name in apt.depends(apt.first_known("python3-minimal")) if name.startswith("python3.")]
    if not minimal:
        raise DeviceError("the system's package python3-minimal names no Python version")
    return minimal[0].removeprefix("python").removesuffix("-minimal")


def _emulator(work: Path, progress: Progress) -> None:
    progress("emulated device: QEMU")
    apt = PrivateApt(work / "apt")
    apt.update()
    for name in _QEMU_PACKAGES:
        folder = work / f"qemu-{name}"
        packages = apt.download([apt.first_known(name)], folder)
        found = any(extract_file(package, _QEMU_FILES, work / "qemu-aarch64") for package in packages)
        shutil.rmtree(folder)
        if found:
            shutil.rmtree(work / "apt")
            return
    raise DeviceError(f"none of the packages {', '.join(_QEMU_PACKAGES)} holds an emulator for aarch64")


def _site(work: Path, python: str, progress: Progress) -> None:
    """Unpack the aarch64 wheels into `site`: TVM's runtime in the version that compiles here, and what it imports."""
    progress("emulated device: TVM's runtime for aarch64")
    wheels = work / "wheels"
    _download(wheels, python)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if not any(part in name for part in _LEFT_OUT)]
            archive.extractall(work / "site", members)
    shutil.rmtree(wheels)


def _download(folder: Path, python: str) -> None:
    folder.mkdir()
    pinned = folder / "requirements.txt"
    pinned.write_text(requirements(python), encoding="utf-8")
    abi = [f"--abi={tag}" for tag in (f"cp{python.replace('.', '')}", "abi3", "none")]
    platforms = [f"--platform={platform}" for platform in _PLATFORMS]
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", f"--dest={folder}", *platforms]
    python_options = [f"--python-version={python}", "--implementation=cp", *abi]
    command = run_module("pip", "download", *options, *python_options, f"--requirement={pinned}")
    run(command, environment(), name="pip download")


def _check(made: Emulated) -> None:
    # The worker's modules too, so that Python compiles them once for all.
    program = (
        "import multiprocessing.connection, pathlib, re, typing, numpy, tvm, tvm.rpc, tvm.runtime.vm; "
        "print(int(tvm.runtime.tensor(numpy.arange(7)).numpy().sum()))"
    )
    done = run(run_text(program, python=made.command("max")), environment(), name="the emulated Python")
    if done.stdout.strip() != "21":
        raise DeviceError(f"the emulated Python answered {done.stdout.strip()[:100]!r} where 21 was expected")
