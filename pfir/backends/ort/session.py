"""An ONNX Runtime session on the CPU from the bytes of a model."""

from __future__ import annotations

from pfir.errors import CompileError


def open_session(library: bytes, threads: int):
    """An `onnxruntime.InferenceSession` that waits for work without spinning.

    Raises:
        CompileError: ONNX Runtime does not take the model; says why.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return ort.InferenceSession(library, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each of ONNX Runtime's error types derives from Exception directly
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        reason = str(error).strip().splitlines()[0].rpartition(" : ")[2]
        raise CompileError(f"ONNX Runtime does not take the model: {reason}") from error
