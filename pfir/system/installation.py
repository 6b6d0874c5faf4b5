"""Whether the module `onnxruntime` is the one that pfir needs: several packages install a module of this name."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from pfir.errors import UsageError

# What pyproject.toml asks for: the package that trains has no wheels for CPython 3.12.
_OURS = "onnxruntime-training" if sys.version_info < (3, 12) else "onnxruntime"
_OTHERS = tuple(n for n in ("onnxruntime-training", "onnxruntime", "onnxruntime-gpu") if n != _OURS)
_LIBRARY = "onnxruntime/capi/onnxruntime_pybind11_state"
_OWN_ENVIRONMENT = "keep pfir in an environment of its own (python -m venv)"


def check_onnxruntime() -> str | None:
    """What a user should know about how onnxruntime is installed; None where all is well. Imports nothing of it.

    Raises:
        UsageError: pfir's onnxruntime is not there, or another package has replaced it or taken it away.
    """
    ours, others = _installed(_OURS), [found for name in _OTHERS if (found := _installed(name))]
    if ours is None:
        if others:
            names = _named(others)
            raise UsageError(f"{names} is installed and {_OURS} is not; pip install {_OURS}, {_OWN_ENVIRONMENT}")
        return None  # whoever has it without its package knows why
    if not _has_library(ours):
        raise UsageError(f"files of {_OURS} are missing, as after `pip uninstall {_OTHERS[0]}`; {_repair(ours)}")
    if not others:
        return None
    if not _is_library_of(ours):
        raise UsageError(f"{_named(others)} has replaced the module of {_OURS}; {_repair(ours)}, or {_OWN_ENVIRONMENT}")
    return (
        f"{_OURS} has replaced the module of {_named(others)}, and to uninstall either breaks the other; "
        f"{_OWN_ENVIRONMENT}"
    )


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _named(others: list[Distribution]) -> str:
    return " and ".join(f"{found.metadata['Name']} {found.version}" for found in others)


def _repair(ours: Distribution) -> str:
    return f"pip install --force-reinstall --no-deps {_OURS}=={ours.version}"


def _has_library(ours: Distribution) -> bool:
    folder = Path(str(ours.locate_file("onnxruntime")))
    return (folder / "__init__.py").exists() and any((folder / "capi").glob(f"{Path(_LIBRARY).name}*"))


def _is_library_of(ours: Distribution) -> bool:
    """Whether the compiled module has the size that its package tells."""
    libraries = [file for file in ours.files or () if str(file).startswith(_LIBRARY)]
    sizes = [(file.size, Path(str(file.locate()))) for file in libraries]
    return all(path.exists() and path.stat().st_size == size for size, path in sizes)
