"""Models run by ONNX Runtime, for tests that compare outputs before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from pfir.ir.model import Model
from tests.support.net import feeds as random_feeds


def run(
    model: Model | onnx.ModelProto | bytes, feeds: Mapping[str, np.ndarray], names: Sequence[str] = ()
) -> list[np.ndarray]:
    """All outputs in order, ONNX Runtime's own rewrites of graphs switched off; if named, these tensors instead."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = onnx.load_from_string(model) if isinstance(model, bytes) else model
    proto = proto.to_proto() if isinstance(proto, Model) else proto
    own = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in own)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(names) or None, dict(feeds))


def assert_same(before: Model, after: Model, tolerance: float = 1e-5, dynamic: int = 2) -> None:
    """Interface and outputs are the same, the latter within `tolerance` of their largest value; onnx accepts both."""
    assert after.inputs() == before.inputs()
    assert after.outputs() == before.outputs()
    onnx.checker.check_model(after.to_proto(), full_check=True)
    feeds = random_feeds(before, dynamic=dynamic)
    for expected, got in zip(run(before, feeds), run(after, feeds), strict=True):
        assert expected.shape == got.shape
        if expected.dtype.kind == "f":
            scale = max(1.0, float(np.abs(expected).max(initial=0)))
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)
        else:
            np.testing.assert_array_equal(got, expected)


def assert_valid(model: Model) -> None:
    """The checker and strict shape inference accept the model."""
    proto = model.to_proto()
    onnx.checker.check_model(proto, full_check=False)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)


def ops(model: Model) -> list[str]:
    """The operators in order."""
    return [n.op for n in model.nodes()]
