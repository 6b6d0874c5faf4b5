"""The backend of ONNX Runtime: what it delivers runs here as the model does."""

import numpy as np
import onnx
import pytest
from onnx import helper

from pfir.artifact import Artifact
from pfir.backends.ort import OrtBackend, OrtHost
from pfir.errors import CompileError, DeviceError, UsageError
from pfir.ir.model import Model
from pfir.target import parse_target
from tests.support.net import model_of
from tests.support.runs import run

TARGET = parse_target("arm")


def two_inputs(operator: str = "Sub", domain: str = "") -> Model:
    """A convolution of `x`, from which `y` is subtracted."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["c", "y"], ["z"], domain=domain),
    ]
    return model_of(nodes, {"w": weight}, {"x": [1, 3, 8, 8], "y": [1, 4, 8, 8]}, {"z": [1, 4, 8, 8]})


@pytest.fixture(scope="module")
def host():
    with OrtHost() as device:
        yield device


def test_the_artifact_is_the_model_with_its_kernels():
    artifact = OrtBackend().build(two_inputs(), TARGET)
    assert [spec.name for spec in artifact.inputs] == ["x", "y"] and artifact.outputs[0].shape == (1, 4, 8, 8)
    assert [node.op_type for node in onnx.load_from_string(artifact.files["model.onnx"]).graph.node] == ["Conv", "Sub"]
    assert sum(kernel.macs for kernel in artifact.kernels) == 4 * 3 * 9 * 64


def test_on_the_host_it_computes_what_onnx_runtime_computes(host):
    model = two_inputs()
    artifact = OrtBackend().build(model, TARGET)
    generator = np.random.default_rng(1)
    # Named in another order than the model's, on purpose.
    feeds = {s.name: generator.standard_normal(s.shape).astype(np.float32) for s in reversed(artifact.inputs)}
    np.testing.assert_allclose(host.run(artifact, feeds)["z"], run(model, feeds)[0], rtol=1e-6, atol=1e-6)


def test_a_measurement_is_measured_on_one_thread(host):
    found = host.measure(OrtBackend().build(two_inputs(), TARGET))
    assert found.source == "measured" and found.threads == 1 and found.repeats >= 10
    assert 0 < found.seconds < 1 and "ONNX Runtime" in found.detail


def test_an_operator_that_onnx_runtime_lacks_is_named():
    with pytest.raises(CompileError, match="NoSuchOperator") as caught:
        OrtBackend().check(two_inputs("NoSuchOperator", "acme"))
    assert "\n" not in str(caught.value)


def test_what_it_cannot_run_is_refused(host):
    with pytest.raises(DeviceError, match="comes from tvm"):
        host.run(Artifact("tvm", TARGET, {}, "net.so", (), ()), {})
    with pytest.raises(DeviceError, match="input y is missing"):
        host.run(OrtBackend().build(two_inputs(), TARGET), {"x": np.zeros((1, 3, 8, 8), np.float32)})
    with pytest.raises(UsageError, match="at least 1"):
        OrtHost(threads=0)


def test_a_model_above_protobuf_s_limit_is_a_compile_error(monkeypatch):
    class Large:
        def SerializeToString(self):  # noqa: N802  (protobuf's name)
            raise ValueError("exceeds 2 GiB")

    monkeypatch.setattr(Model, "to_proto", lambda self: Large())
    with pytest.raises(CompileError, match="2 GiB"):
        OrtBackend().build(two_inputs(), TARGET)
