"""Versions of the libraries that a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from pfir import __version__

_LIBRARIES = (
    "onnx",
    "onnx-graphsurgeon",
    "onnxruntime-training",
    "onnxruntime",
    "torch",
    "numpy",
    "apache-tvm",
    "nevergrad",
    "ziglang",
)


def versions() -> dict[str, str]:
    """Distribution name to version; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def summary() -> str:
    """pfir's own version, and those that a report of a fault should name, in one line."""
    others = ", ".join(f"{name.capitalize() if name == 'python' else name} {v}" for name, v in versions().items())
    return f"pfir {__version__} ({others})"
