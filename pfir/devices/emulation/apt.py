"""Debian packages fetched with a private state: nothing is installed, no right beyond the user's is needed, and of the
machine's settings only its sources, the way to them and its keys count."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from pfir.devices.emulation.pinned import check_package
from pfir.errors import DeviceError
from pfir.system.children import environment

TIMEOUT_S = 600
# How the machine reaches its sources: proxies, certificates, how old a mirror's index may be. The rest stays out:
# hooks, programs that look for a proxy, permission to use what nobody signed.
_KEPT = re.compile(r"Acquire::(https?(::|\s)|Check-(Valid-Until|Date)\s|(Max|Min)-ValidTime(::|\s))", re.IGNORECASE)
_LEFT_OUT = re.compile("auto-?detect", re.IGNORECASE)
_UBUNTU_PORTS = "http://ports.ubuntu.com/ubuntu-ports"
_UBUNTU_KEYS = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"


class PrivateApt:
    """apt-get and apt-cache over package lists of their own.

    Args:
        folder: Where lists and state are kept; made here.
        architecture: Debian's name of an architecture (arm64), or None for this machine's.

    Raises:
        DeviceError: This system has no apt-get or no dpkg-deb.
    """

    def __init__(self, folder: Path, architecture: str | None = None) -> None:
        for program in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
            if shutil.which(program) is None:
                raise DeviceError(f"{program} is missing; the emulated device is set up from Debian or Ubuntu packages")
        for name in ("lists/partial", "archives/partial", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "preferences").write_text(_preferences(_os_release()), encoding="utf-8")
        self._config = folder / "apt.conf"
        self._config.write_text(_configuration(folder, architecture), encoding="utf-8")

    def update(self) -> None:
        """Fetch the package lists; one unreachable source is no failure as long as the packages are found."""
        run(["apt-get", "-qq", "update"], env=self._environment(), check=False)

    def first_known(self, *names: str) -> str:
        """The first of these packages that can be downloaded.

        Raises:
            DeviceError: There is none, usually since no package list could be fetched.
        """
        for name in names:
            shown = run(["apt-cache", "--no-all-versions", "show", name], env=self._environment(), check=False)
            if shown.returncode == 0 and "Filename:" in shown.stdout:
                return name
        raise DeviceError(f"no package {' or '.join(names)} is on offer; check the network and the apt sources")

    def depends(self, name: str) -> list[str]:
        """The packages that a package needs first or beside it, by name."""
        shown = run(["apt-cache", "depends", name], env=self._environment())
        pairs = (line.strip().lstrip("|").partition("Depends: ") for line in shown.stdout.splitlines())
        return [needed for kind, found, needed in pairs if found and kind in ("", "Pre")]

    def download(self, names: list[str], folder: Path) -> list[Path]:
        """Fetch packages into a folder of their own, each as the index says that its archive has signed.

        Raises:
            DeviceError: One cannot be fetched, or is not the one that is pinned.
        """
        folder.mkdir(parents=True)
        run(["apt-get", "-qq", "download", *names], env=self._environment(), cwd=folder)
        packages = sorted(folder.glob("*.deb"))
        release = _os_release()
        for package in packages:
            check_package(package, f"{release.get('ID')} {release.get('VERSION_ID')}")
        return packages

    def _environment(self) -> dict[str, str]:
        return environment(APT_CONFIG=str(self._config), LC_ALL="C")


def unpack(package: Path, folder: Path) -> None:
    """Put all files of a package under a folder."""
    run(["dpkg-deb", "-x", str(package), str(folder)])


def extract_file(package: Path, names: tuple[str, ...], path: Path) -> bool:
    """Put the first file of a package that has one of these names (`usr/bin/..`) at `path`; whether there is one."""
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and member.name.removeprefix("./") in names:
                path.write_bytes(content.read())
                path.chmod(0o755)
                process.kill()
                return True
    return False


def run(
    command: Sequence[str],
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    name: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and give its output.

    Args:
        name: How messages call it; None is the start of its command line.

    Raises:
        DeviceError: It cannot be started, takes too long, or (with `check`) fails; quotes its last line of error.
    """
    name = name or _words(command)
    try:
        done = subprocess.run(
            command, env=env, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{name} timed out after {TIMEOUT_S} s") from error
    except OSError as error:
        raise DeviceError(f"{name}: {error}") from error
    if check and done.returncode != 0:
        raise DeviceError(f"{name} failed: {_last_error(done)}")
    return done


def _configuration(folder: Path, architecture: str | None) -> str:
    dumped = run(["apt-config", "dump"]).stdout.splitlines()
    kept = [line for line in dumped if _KEPT.match(line) and not _LEFT_OUT.search(line)]
    native = run(["dpkg", "--print-architecture"]).stdout.strip()
    architecture = architecture or native
    ours = {
        "APT::Architecture": architecture,
        "Dir::State::Lists": f"{folder}/lists",
        "Dir::State::status": f"{folder}/status",
        "Dir::Cache": str(folder),
        "Dir::Cache::archives": f"{folder}/archives",
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": f"{folder}/parts",
        "Dir::Etc::Preferences": f"{folder}/preferences",
        "Dir::Etc::PreferencesParts": f"{folder}/parts",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
    }
    release = _os_release()
    if release.get("ID") == "ubuntu" and architecture != native:
        ours |= _ubuntu_ports(folder, architecture, release.get("VERSION_CODENAME", ""))
    # The empty second line clears a list that a value would otherwise be added to.
    lists = ["#clear APT::Architectures;", f'APT::Architectures {{ "{architecture}"; }};']
    return "\n".join([*kept, *(f'{key} "{value}";' for key, value in ours.items()), *lists, ""])


def _preferences(release: dict[str, str]) -> str:
    """The system's own archive first, whatever newer version another source of this machine has."""
    key = {"debian": "o=Debian,n", "ubuntu": "o=Ubuntu,a"}.get(release.get("ID", ""))
    name = release.get("VERSION_CODENAME")
    if not key or not name:
        return ""
    suites = [name, f"{name}-updates", f"{name}-security"]
    return "\n".join(f"Package: *\nPin: release {key}={suite}\nPin-Priority: 990\n" for suite in suites)


def _ubuntu_ports(folder: Path, architecture: str, codename: str) -> dict[str, str]:
    """Ubuntu keeps all but its x86 packages on a server of their own, which no x86 machine has among its sources."""
    path = folder / "ports.list"
    form = f"deb [arch={architecture} signed-by={_UBUNTU_KEYS}] {_UBUNTU_PORTS} {{}} main universe\n"
    path.write_text("".join(form.format(suite) for suite in (codename, f"{codename}-updates")), encoding="utf-8")
    return {"Dir::Etc::sourcelist": str(path), "Dir::Etc::sourceparts": f"{folder}/parts"}


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _words(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:4]])


def _last_error(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "ERROR:"))]
    if lines and lines[0].startswith("Traceback"):
        return lines[-1][:300]
    return (errors or lines or [f"exit code {done.returncode}"])[0][:300]
