"""Packages that share the module `onnxruntime` are noticed before anything is imported."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pfir.errors import UsageError
from pfir.system import installation
from pfir.system.installation import check_onnxruntime

OURS, OTHERS = installation._OURS, installation._OTHERS
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
LIBRARY = "onnxruntime/capi/onnxruntime_pybind11_state.so"


def install(folder, name, version, library):
    """A package as pip lays it: its module, and what it says of itself."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "RECORD").write_text(f"onnxruntime/__init__.py,,0\n{LIBRARY},sha256=x,{len(library)}\n")
    (folder / "onnxruntime/capi").mkdir(parents=True, exist_ok=True)
    (folder / "onnxruntime/__init__.py").touch()
    (folder / LIBRARY).write_bytes(library)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    return tmp_path


def test_the_package_that_pfir_asks_for_needs_no_note_alone(site):
    install(site, OURS, "1.19.2", b"ours")
    assert check_onnxruntime() is None


@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
def test_what_pfir_asks_for_is_what_its_metadata_says(version):
    wanted = {name for name in (OURS, *OTHERS) if _asked_for(name, ".".join(map(str, version)))}
    assert wanted == {"onnxruntime-training" if version < (3, 12) else "onnxruntime"}


def test_beside_another_package_whose_module_it_replaced_there_is_a_note(site):
    install(site, OTHERS[0], "1.20.0", b"theirs")
    install(site, OURS, "1.19.2", b"ours")
    note = check_onnxruntime()
    assert f"{OURS} has replaced the module of {OTHERS[0]} 1.20.0" in note and "python -m venv" in note
    assert "\n" not in note


@pytest.mark.parametrize("name", OTHERS)
def test_a_module_that_another_package_replaced_is_refused_with_the_repair(site, name):
    install(site, OURS, "1.19.2", b"ours")
    install(site, name, "1.20.0", b"theirs")
    with pytest.raises(UsageError, match=f"{name} 1.20.0 has replaced .*--force-reinstall --no-deps .*==1.19.2"):
        check_onnxruntime()


@pytest.mark.parametrize("lost", ["onnxruntime/__init__.py", LIBRARY])
def test_a_module_that_was_uninstalled_with_another_package_is_refused_with_the_repair(site, lost):
    install(site, OURS, "1.19.2", b"ours")
    (site / lost).unlink()
    with pytest.raises(UsageError, match="missing, as after `pip uninstall .*`; pip install --force-re"):
        check_onnxruntime()


def test_the_other_package_alone_is_refused(site):
    install(site, OTHERS[0], "1.20.0", b"theirs")
    with pytest.raises(UsageError, match=f"{OTHERS[0]} 1.20.0 is installed and {OURS} is not; pip"):
        check_onnxruntime()
    (site / f"{OTHERS[0].replace('-', '_')}-1.20.0.dist-info" / "METADATA").unlink()


def test_without_any_package_of_onnxruntime_there_is_no_note(site):
    assert check_onnxruntime() is None


def test_the_environment_of_the_tests_needs_no_note():
    assert installation._has_library(installation.distribution(OURS))
    assert check_onnxruntime() is None


def _asked_for(name: str, version: str) -> bool:
    """Whether pyproject.toml asks for the package on this CPython."""
    found = [Requirement(line) for line in re.findall(r'^    "(onnxruntime.*)",$', PROJECT.read_text(), re.MULTILINE)]
    return any(r.name == name and r.marker.evaluate({"python_version": version}) for r in found)
