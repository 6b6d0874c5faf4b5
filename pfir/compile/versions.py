"""Versions of the libraries that a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = ("onnx", "onnx-graphsurgeon", "onnxruntime-training", "numpy", "apache-tvm", "nevergrad", "ziglang")


def versions() -> dict[str, str]:
    """Distribution name to version; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
