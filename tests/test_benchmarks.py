"""The benchmarks keep up with the package that they measure."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if not path.name.startswith("__")
)


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_finds_what_it_imports(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("PFIR_SHARED", str(ROOT.parent / "shared"))
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == "torch":
            pytest.skip("PyTorch is not installed")
        raise
