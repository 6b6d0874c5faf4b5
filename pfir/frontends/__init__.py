"""Readers: a file on disk becomes an ir.Model."""

from __future__ import annotations

from pathlib import Path

from pfir.errors import FrontendError
from pfir.frontends.onnx.loading import load_onnx, outside_of
from pfir.frontends.onnx.untrusted import refuse_by_name
from pfir.frontends.packed import read_model
from pfir.ir.model import Model

__all__ = ["load", "outside_files", "read_model"]


def load(path: str | Path) -> Model:
    """The model in a file; what the file is is told from its content, not from its name.

    Raises:
        FrontendError: It cannot be read or used; one line says which file, where in it, why, and what to do.
    """
    path = Path(path)
    data = read_model(path)
    try:
        return load_onnx(path, data)
    except FrontendError:
        refuse_by_name(path)
        raise


def outside_files(path: str | Path) -> tuple[Path, ...]:
    """The files beside a model that hold values of it.

    Raises:
        FrontendError: As `load`.
    """
    path = Path(path)
    return outside_of(path, read_model(path))
