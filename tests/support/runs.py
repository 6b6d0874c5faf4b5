"""Models run by ONNX Runtime on seeded inputs, for tests that compare outputs before and after."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser

from pfir.ir.model import Model


def parsed(body: str, opset: int = 13, **arrays: np.ndarray) -> Model:
    """A model of ONNX's text form; `arrays` become initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items())
    return Model.from_proto(proto)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 normal values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def feeds_of(model: Model, dynamic: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded inputs; dynamic axes get this size."""
    rng = np.random.default_rng(seed)
    shapes = {t.name: [d if isinstance(d, int) else dynamic for d in t.shape] for t in model.inputs()}
    return {t.name: rng.standard_normal(shapes[t.name]).astype(t.dtype) for t in model.inputs()}


def outputs_of(model: Model, feeds: dict[str, np.ndarray], names: tuple[str, ...] | None = None) -> list[np.ndarray]:
    """What ONNX Runtime gives, its own graph rewrites switched off; inner tensors too if named."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = model.to_proto()
    own = {o.name for o in proto.graph.output}
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names or () if n not in own)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(list(names) if names else [o.name for o in model.outputs()], feeds)


def assert_same(before: Model, after: Model, tolerance: float = 1e-5, dynamic: int = 2) -> None:
    """Interface and outputs are the same, the latter within `tolerance` of their largest value; onnx accepts both."""
    assert after.inputs() == before.inputs()
    assert after.outputs() == before.outputs()
    onnx.checker.check_model(after.to_proto(), full_check=True)
    feeds = feeds_of(before, dynamic)
    for expected, got in zip(outputs_of(before, feeds), outputs_of(after, feeds), strict=True):
        assert expected.shape == got.shape
        if expected.dtype.kind == "f":
            scale = max(1.0, float(np.abs(expected).max(initial=0)))
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)
        else:
            np.testing.assert_array_equal(got, expected)


def ops(model: Model) -> list[str]:
    """The operators in order."""
    return [n.op for n in model.nodes()]
