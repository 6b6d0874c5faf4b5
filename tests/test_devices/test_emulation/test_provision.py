"""Setting up the emulated device: what is refused, with what words; nothing here needs the network."""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from pfir.devices.emulation import apt, counting, pinned, provision
from pfir.devices.emulation.apt import PrivateApt, extract_file, run
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


@pytest.fixture
def machine_settings(monkeypatch):
    """What the machine's own configuration says, as `apt-config dump` prints it."""

    def says(*lines):
        answer = subprocess.CompletedProcess([], 0, "\n".join(lines), "")
        real = apt.run
        monkeypatch.setattr(apt, "run", lambda c, *a, **k: answer if c[0] == "apt-config" else real(c, *a, **k))

    return says


def test_of_the_machine_s_settings_only_the_way_to_its_sources_is_kept(tmp_path, machine_settings):
    proxy = 'Acquire::http::Proxy "http://proxy.example:3128";'
    kept = [proxy, 'Acquire::https::CaInfo "/etc/ca.pem";', 'Acquire::Check-Valid-Until "false";']
    hooks = [
        'APT::Update::Pre-Invoke:: "touch /tmp/hook";',
        'DPkg::Post-Invoke:: "touch /tmp/hook";',
        'Acquire::http::Proxy-Auto-Detect "/tmp/hook";',
        'Acquire::http::ProxyAutoDetect "/tmp/hook";',
        'Acquire::AllowInsecureRepositories "true";',
        'APT::Get::AllowUnauthenticated "true";',
        'Dir::Bin::Methods "/tmp/hook";',
        'Dir::Etc::Preferences "/tmp/hook";',
        'Acquire::Languages "de";',
    ]
    machine_settings(*kept, *hooks)
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    PrivateApt(tmp_path / "apt", "arm64")
    written = (tmp_path / "apt" / "apt.conf").read_text()
    assert all(line in written for line in kept) and not any(line in written for line in hooks)
    assert "hook" not in written and "Allow" not in written


def test_the_system_s_own_archive_comes_first():
    text = apt._preferences({"ID": "debian", "VERSION_CODENAME": "bookworm"})
    assert text.count("Package: *\nPin: release o=Debian,n=bookworm") == 3 and "n=bookworm-security\n" in text
    assert "o=Ubuntu,a=noble-updates\n" in apt._preferences({"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    assert apt._preferences({"ID": "other", "VERSION_CODENAME": "x"}) == apt._preferences({}) == ""


def test_a_package_is_the_pinned_one_or_a_later_one(tmp_path, monkeypatch):
    content = b"a package"
    pins = {"libc6:arm64": {"version": "1:2.36-9", "sha256": hashlib.sha256(content).hexdigest()}}
    monkeypatch.setattr(pinned, "_pins", lambda: {"packages": {"debian 12": pins}})

    def check(name, content=content, release="debian 12"):
        (tmp_path / name).write_bytes(content)
        pinned.check_package(tmp_path / name, release)

    check("libc6_1%3a2.36-9_arm64.deb")
    for other in ("libc6_1%3a2.36-9_amd64.deb", "zlib1g_1_arm64.deb"):
        check(other, b"not pinned")
    if shutil.which("dpkg") is not None:
        check("libc6_1%3a2.36-9+deb12u1_arm64.deb", b"later")
        with pytest.raises(DeviceError, match="libc6 on offer is 1:2.35-1, older than 1:2.36-9"):
            check("libc6_1%3a2.35-1_arm64.deb", b"older")
    with pytest.raises(DeviceError, match="libc6 1:2.36-9 is not the one that pfir knows"):
        check("libc6_1%3a2.36-9_arm64.deb", b"another")
    check("libc6_1%3a2.36-9_arm64.deb", b"another", "debian 13")


def test_what_is_downloaded_is_checked(tmp_path, monkeypatch, empty_apt):
    seen = []
    monkeypatch.setattr(apt, "check_package", lambda package, release: seen.append((package.name, release)))
    monkeypatch.setattr(apt, "_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    monkeypatch.setattr(apt, "run", lambda *_, cwd, **__: (cwd / "p_1_arm64.deb").touch())
    empty_apt.download(["p"], tmp_path / "debs")
    assert seen == [("p_1_arm64.deb", "debian 12")]


def test_every_wheel_is_pinned_with_a_hash_and_tvm_as_it_is_here():
    for python in ("3.10", "3.11", "3.12", "3.13"):
        lines = pinned.requirements(python).splitlines()
        assert len(lines) == 7 and all(re.fullmatch(r"[a-z-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
        assert f"apache-tvm=={version('apache-tvm')}" in pinned.requirements(python)
    with pytest.raises(DeviceError, match="Python is 3.9; wheels are pinned for 3.10, 3.11, 3.12, 3.13"):
        pinned.requirements("3.9")


def test_another_tvm_than_the_pinned_one_is_refused(monkeypatch):
    monkeypatch.setattr(pinned, "version", lambda name: "9.9")
    with pytest.raises(DeviceError, match="apache-tvm 9.9 is installed, and another one is pinned"):
        pinned.requirements("3.11")


def test_wheels_are_fetched_with_their_hashes_and_by_the_pip_of_this_python(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(provision, "run", lambda command, env, name: seen.append((command, env)))
    provision._download(tmp_path / "wheels", "3.11")
    [(command, env)] = seen
    assert command[:2] == (sys.executable, "-I") and "--require-hashes" in command and "--no-deps" in command
    assert "PYTHONPATH" not in env and (tmp_path / "wheels/requirements.txt").read_text() == pinned.requirements("3.11")


def test_without_pip_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(provision, "find_spec", lambda name: None)
    said = []
    with pytest.raises(DeviceError, match="ensurepip"):
        provision.provision(tmp_path, said.append)
    assert said == [f"emulated device: fetches {provision.FETCHED}; once, --offline fetches nothing"]


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
    with pytest.raises(DeviceError, match="pip download failed: ModuleNotFoundError: No module named 'nosuch'"):
        run([sys.executable, "-c", "import nosuch"], name="pip download")
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
