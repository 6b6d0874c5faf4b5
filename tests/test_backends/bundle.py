"""Many small cases as one ONNX model, so that the backend's tests compile once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pfir.artifact import Artifact, TensorSpec
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.backend import LIBRARY
from pfir.backends.tvm.library.build import build
from pfir.backends.tvm.lowering.values import Program
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.devices.host import HostDevice
from pfir.errors import DeviceError
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.target import Target, parse_target
from tests.support.runs import run


class Bundle:
    """Adds nodes under construction; each case ends in one named output."""

    def __init__(self, opset: int = 17) -> None:
        self.opset = opset
        self._rng = np.random.default_rng(7)
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._constants: list[onnx.TensorProto] = []

    def input(self, *shape: int) -> str:
        name = f"in{len(self._inputs)}"
        self._inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        return name

    def random(self, *shape: int) -> str:
        return self.constant(self._rng.standard_normal(shape).astype(np.float32) * 0.5)

    def constant(self, array: Any) -> str:
        name = f"const{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"t{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self._nodes)}", **attributes))
        return names if outputs > 1 else names[0]

    def output(self, name: str, tensor: str) -> None:
        self._nodes.append(helper.make_node("Identity", [tensor], [name], name=f"out_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))

    def model(self) -> Model:
        graph = helper.make_graph(self._nodes, "bundle", self._inputs, self._outputs, self._constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        model = Model.from_proto(onnx.shape_inference.infer_shapes(proto))
        infer_shapes(model)
        return model


def feeds(specs: tuple[TensorSpec, ...], seed: int = 3) -> dict[str, np.ndarray]:
    """Standard normal values for every input."""
    rng = np.random.default_rng(seed)
    return {spec.name: rng.standard_normal(spec.shape).astype(np.float32) for spec in specs}


def reference(model: Model, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime computes."""
    return dict(zip([o.name for o in model.outputs()], run(model, values), strict=True))


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return float(np.abs(ours - theirs).max() / max(1e-6, np.abs(theirs).max()))


Arrays = dict[str, np.ndarray]


def answers(model: Model, target: str = "host") -> tuple[Arrays, Arrays]:
    """What the library built for a target that runs here gives, and what ONNX Runtime gives, for the same inputs."""
    backend = TvmBackend()
    backend.check(model)
    values = feeds(model.inputs())
    with HostDevice() as device:
        ours = device.run(backend.build(model, parse_target(target)), values)
    return ours, reference(model, values)


def answers_of_program(program: Program, model: Model) -> tuple[Arrays, Arrays]:
    """What kernels that are written for this machine give, and what ONNX Runtime gives, for the same inputs."""
    library = build(program.builder.get(), program.target)
    artifact = Artifact("tvm", program.target, {LIBRARY: library}, LIBRARY, model.inputs(), model.outputs())
    values = feeds(model.inputs())
    with HostDevice(program.target.threads) as device:
        return device.run(artifact, values), reference(model, values)


def answers_emulated(model: Model, *targets: str | Target) -> tuple[list[Arrays], Arrays]:
    """What the libraries for these targets give on the emulated device, and what ONNX Runtime gives; where there is no
    such device, the test is skipped."""
    values = feeds(model.inputs())
    with EmulatedDevice() as device:
        try:
            device.set_up()
        except DeviceError as reason:
            pytest.skip(f"no emulated device here: {reason}")
        made = (TvmBackend().build(model, parse_target(t) if isinstance(t, str) else t) for t in targets)
        return [device.run(artifact, values) for artifact in made], reference(model, values)


def bundled(cases: Mapping[str, Callable[[Bundle], str]]) -> Model:
    """All cases as one model, whose outputs are case0, case1 and so on."""
    bundle = Bundle()
    for i, case in enumerate(cases.values()):
        bundle.output(f"case{i}", case(bundle))
    return bundle.model()


def answers_of_cases(
    cases: Mapping[str, Callable[[Bundle], str]], target: str = "host"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both answers of each case, all cases built as one model."""
    ours, theirs = answers(bundled(cases), target)
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(cases)}
