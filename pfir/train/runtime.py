"""How ONNX Runtime is set up for training: one thread a session, silent, without memory patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from pfir.ir.model import Model

# 4 is fatal only: the gradient builder writes kilobytes of [I:...] lines a call, even below.
_SILENT = 4


def options(jobs: int) -> Any:
    """Session options for this many threads."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = _SILENT
    chosen.intra_op_num_threads = jobs
    chosen.inter_op_num_threads = 1
    # Planned memory for one fixed shape doubles what training holds (notes: 428 against 212 MB).
    chosen.enable_mem_pattern = False
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return chosen


def session(proto: onnx.ModelProto, jobs: int, providers: Sequence[Any] = ("CPUExecutionProvider",)) -> Any:
    """An `onnxruntime.InferenceSession`, on the CPU unless other providers are given."""
    import onnxruntime

    proto.ir_version = min(proto.ir_version, 10)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options(jobs), providers=list(providers))


def inference(model: Model, jobs: int) -> Any:
    """A session that predicts with this model."""
    return session(model.to_proto(), jobs)
