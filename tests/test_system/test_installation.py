"""Packages that share the module `onnxruntime` are noticed before anything is imported."""

import pytest

from pfir.errors import UsageError
from pfir.system import installation
from pfir.system.installation import check_onnxruntime

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


def test_onnxruntime_training_alone_needs_no_note(site):
    install(site, "onnxruntime-training", "1.19.2", b"ours")
    assert check_onnxruntime() is None


def test_beside_another_package_whose_module_it_replaced_there_is_a_note(site):
    install(site, "onnxruntime", "1.20.0", b"theirs")
    install(site, "onnxruntime-training", "1.19.2", b"ours")
    note = check_onnxruntime()
    assert "onnxruntime-training has replaced the module of onnxruntime 1.20.0" in note and "python -m venv" in note
    assert "\n" not in note


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu"])
def test_a_module_that_another_package_replaced_is_refused_with_the_repair(site, name):
    install(site, "onnxruntime-training", "1.19.2", b"ours")
    install(site, name, "1.20.0", b"theirs")
    with pytest.raises(UsageError, match=f"{name} 1.20.0 has replaced .*--force-reinstall --no-deps .*==1.19.2"):
        check_onnxruntime()


@pytest.mark.parametrize("lost", ["onnxruntime/__init__.py", LIBRARY])
def test_a_module_that_was_uninstalled_with_another_package_is_refused_with_the_repair(site, lost):
    install(site, "onnxruntime-training", "1.19.2", b"ours")
    (site / lost).unlink()
    with pytest.raises(UsageError, match="missing, as after `pip uninstall onnxruntime`; pip install --force-re"):
        check_onnxruntime()


def test_the_other_package_alone_is_refused(site):
    install(site, "onnxruntime", "1.20.0", b"theirs")
    with pytest.raises(UsageError, match="onnxruntime 1.20.0 is installed and onnxruntime-training is not; pip"):
        check_onnxruntime()
    (site / "onnxruntime-1.20.0.dist-info" / "METADATA").unlink()


def test_without_any_package_of_onnxruntime_there_is_no_note(site):
    assert check_onnxruntime() is None


def test_the_environment_of_the_tests_needs_no_note():
    assert installation._has_library(installation.distribution("onnxruntime-training"))
    assert check_onnxruntime() is None
