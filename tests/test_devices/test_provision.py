"""Setting up the emulated device: what is refused, with what words; nothing here needs the network."""

import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from pfir.devices import apt, counting, provision
from pfir.devices.apt import PrivateApt, extract_file, run
from pfir.errors import DeviceError


@pytest.fixture
def empty_apt(tmp_path, monkeypatch):
    """apt with a private state and no package list."""
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    return PrivateApt(tmp_path / "apt", "arm64")


def test_a_package_on_no_list_is_refused_by_name(empty_apt):
    with pytest.raises(DeviceError, match="no package libssl3 or libssl1.1 is on offer"):
        empty_apt.first_known("libssl3", "libssl1.1")
    with pytest.raises(DeviceError, match="download no-such-package failed: E: "):
        empty_apt.download(["no-such-package"], Path(empty_apt._config).parent / "debs")


def test_the_private_state_is_all_inside_its_folder_and_runs_no_hooks(empty_apt):
    shown = run(["apt-config", "dump"], env=empty_apt._environment()).stdout.lower()
    folder = str(empty_apt._config.parent)
    for key in ("Dir::State::Lists", "Dir::State::status", "Dir::Cache", "Dir::Cache::archives"):
        assert f'{key} "{folder}'.lower() in shown
    assert "post-invoke" not in shown and 'apt::architecture "arm64"' in shown


def test_on_ubuntu_foreign_packages_come_from_its_ports(empty_apt, tmp_path, monkeypatch):
    monkeypatch.setattr(apt, "_os_release", lambda: {"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    folder = tmp_path / "ubuntu"
    PrivateApt(folder, "riscv64")
    listed = (folder / "ports.list").read_text()
    assert "ubuntu-ports noble main" in listed and "noble-updates" in listed and "arch=riscv64" in listed
    assert f'Dir::Etc::sourcelist "{folder}/ports.list"' in (folder / "apt.conf").read_text()


def test_a_program_that_fails_or_is_missing_or_hangs_is_a_device_error(monkeypatch):
    with pytest.raises(DeviceError, match="sh -c .* failed: E: what is wrong"):
        run(["sh", "-c", "echo W: a warning >&2; echo E: what is wrong >&2; exit 3"])
    with pytest.raises(DeviceError, match="failed: exit code 3"):
        run(["sh", "-c", "exit 3"])
    with pytest.raises(DeviceError, match="no-such-program"):
        run(["no-such-program"])
    monkeypatch.setattr(apt, "TIMEOUT_S", 0.2)
    with pytest.raises(DeviceError, match="timed out"):
        run(["sleep", "5"])


def test_other_systems_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="needs Linux; this system is darwin"):
        provision.provision(tmp_path)


class Offers:
    """What apt would say: packages, and what they hold."""

    def __init__(self, needs=(), package=None):
        self._needs, self._package = list(needs), package

    def update(self):
        """Nothing to fetch."""

    def first_known(self, *names):
        return names[0]

    def depends(self, name):
        return self._needs

    def download(self, names, folder):
        folder.mkdir()
        return [self._package]


def test_the_system_s_python_is_read_from_its_package():
    assert provision._python_version(Offers(["dpkg", "python3.12-minimal"])) == "3.12"
    with pytest.raises(DeviceError, match="names no Python version"):
        provision._python_version(Offers(["dpkg"]))


def deb(folder: Path, member: str) -> Path:
    """A package of one file."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb here")
    path = folder / "tree" / member
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x7fELF program")
    (folder / "tree" / "DEBIAN").mkdir()
    (folder / "tree" / "DEBIAN" / "control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\nDescription: d\n"
    )
    run(["dpkg-deb", "--build", str(folder / "tree"), str(folder / "p.deb")])
    return folder / "p.deb"


def test_one_file_of_a_package_is_extracted_as_a_program(tmp_path):
    package = deb(tmp_path, "usr/bin/qemu-aarch64")
    assert extract_file(package, ("usr/bin/other", "usr/bin/qemu-aarch64"), tmp_path / "program")
    assert (tmp_path / "program").read_bytes() == b"\x7fELF program" and (tmp_path / "program").stat().st_mode & 0o100
    assert not extract_file(package, ("usr/bin/other",), tmp_path / "none")
    assert tarfile.is_tarfile(tmp_path / "program") is False


def test_packages_without_an_emulator_are_refused(tmp_path, monkeypatch):
    package = deb(tmp_path, "usr/bin/other")
    monkeypatch.setattr(provision, "PrivateApt", lambda folder: Offers(package=package))
    with pytest.raises(DeviceError, match="holds an emulator for aarch64"):
        provision._emulator(tmp_path, lambda line: None)


def test_a_python_that_computes_wrongly_is_refused(monkeypatch, tmp_path):
    class Broken:
        def command(self, cpu):
            return ("echo", "20")

    with pytest.raises(DeviceError, match="where 21 was expected"):
        provision._check(Broken())


def test_an_emulator_without_a_loader_takes_no_plugins(tmp_path):
    program = tmp_path / "usr/bin/qemu-aarch64"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF static")
    with pytest.raises(DeviceError, match="no other takes plugins"):
        counting._keep_one_program(tmp_path)
