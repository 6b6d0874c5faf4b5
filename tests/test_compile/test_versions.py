from importlib.metadata import PackageNotFoundError, version

from pfir.compile import versions as module
from pfir.compile.versions import versions


def test_versions_are_those_that_are_installed():
    found = versions()
    assert found["onnx"] == version("onnx") and found["python"].startswith("3.")


def test_what_is_not_installed_is_left_out(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert versions().keys() == {"python"}
