"""The TVM backend: ONNX to Relax to a library."""

from pfir.backends.tvm.backend import TvmBackend

__all__ = ["TvmBackend"]
