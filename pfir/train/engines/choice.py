"""Which engine trains: the one asked for, or the one that is there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pfir.errors import UsageError
from pfir.train.engines.base import ALWAYS_COMPILE, Engine

AUTO_ENGINE, ORT, TORCH = "auto", "ort", "torch"
ENGINES = (AUTO_ENGINE, ORT, TORCH)
INSTALL = "pip install 'pfir[torch]'"


def check_engine(name: str, trains: bool = True) -> None:
    """Return only if the name is an engine's, and a run that trains can.

    Raises:
        UsageError: It is none, or its library is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"--engine {name} is not known; it is one of {', '.join(ENGINES)}")
    if name == TORCH and not _has_torch():
        raise UsageError(f"--engine torch needs PyTorch, which is not installed; {INSTALL}")
    if name == ORT and not ort_trains():
        raise UsageError(f"--engine ort needs onnxruntime-training, which {_ORT_IS_FOR}; --engine torch trains here")
    if name == AUTO_ENGINE and trains and not ort_trains() and not _has_torch():
        raise UsageError(
            f"training needs PyTorch here (onnxruntime-training {_ORT_IS_FOR}); {INSTALL}, or --epochs 0 trains nothing"
        )


def check_compile(asked: str, engine: str, several: bool) -> None:
    """Return only if steps that are asked to be compiled always can be, or are not asked to be.

    Args:
        asked: One of `base.COMPILES`.
        engine: The engine's name.
        several: Whether several processes train.

    Raises:
        UsageError: They cannot, and why.
    """
    if asked == ALWAYS_COMPILE and (why := why_not_compiled(engine_named(engine), several)):
        raise UsageError(f"--train compile={asked}: {why}")


def why_not_compiled(engine: Engine, several: bool) -> str | None:
    """Why an engine cannot compile its steps here, as the end of a sentence; None where it can."""
    return "several processes train; give --nproc 1" if several else engine.why_not_compiled()


def engine_named(name: str = AUTO_ENGINE) -> Engine:
    """The engine of this name; `auto` is ONNX Runtime where it can train, unless only PyTorch can use a GPU.

    Raises:
        UsageError: See `check_engine`.
    """
    check_engine(name)
    if name == TORCH or (name == AUTO_ENGINE and (not ort_trains() or _gpu())):
        from pfir.train.engines.pytorch.engine import TorchEngine

        return TorchEngine()
    from pfir.train.engines.onnxruntime.engine import OrtEngine

    return OrtEngine()


_ORT_IS_FOR = "is there for CPython 3.10 and 3.11 only"


def ort_trains() -> bool:
    """Whether the onnxruntime that is installed can differentiate; it is not imported."""
    found = find_spec("onnxruntime")
    folders = found.submodule_search_locations if found else None
    return any((Path(folder) / "training").is_dir() for folder in folders or ())


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _gpu() -> bool:
    """Whether PyTorch is there and sees a GPU, which ONNX Runtime's training does not use here."""
    if not _has_torch():
        return False
    import torch

    return bool(torch.cuda.is_available())
