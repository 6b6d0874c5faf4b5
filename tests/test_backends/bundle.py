"""Many small cases as one ONNX model, so that the backend's tests compile once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import pytest

from pfir.artifact import Artifact, TensorSpec
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.backend import LIBRARY
from pfir.backends.tvm.library import store
from pfir.backends.tvm.library.build import build
from pfir.backends.tvm.lowering.values import Program
from pfir.errors import DeviceError
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.target import Target, parse_target
from tests.support.net import Net
from tests.support.runs import run
from tests.test_backends import devices


def under_construction(opset: int = 17) -> Net:
    """A graph to which cases are added; each ends in one named output."""
    return Net(7, opset)


def sized(net: Net) -> Model:
    """The model, with every shape inferred."""
    model = net.model()
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
    return devices.host().run(backend.build(model, parse_target(target)), values), reference(model, values)


def answers_of_program(program: Program, model: Model) -> tuple[Arrays, Arrays]:
    """What kernels that are written for this machine give, and what ONNX Runtime gives, for the same inputs."""
    library = build(program.builder.get(), program.target)
    artifact = Artifact("tvm", program.target, {LIBRARY: library}, LIBRARY, model.inputs(), model.outputs())
    values = feeds(model.inputs())
    return devices.host(program.target.threads).run(artifact, values), reference(model, values)


def answers_emulated(model: Model, *targets: str | Target) -> tuple[list[Arrays], Arrays]:
    """What the libraries for these targets give on the emulated device, and what ONNX Runtime gives; where there is no
    such device, the test is skipped."""
    values = feeds(model.inputs())
    device = devices.emulated()
    try:
        device.set_up()
    except DeviceError as reason:
        pytest.skip(f"no emulated device here: {reason}")
    made = (TvmBackend().build(model, parse_target(t) if isinstance(t, str) else t) for t in targets)
    return [device.run(artifact, values) for artifact in made], reference(model, values)


@contextmanager
def chosen_by(module: ModuleType, name: str, choose: Callable) -> Iterator[None]:
    """Libraries whose schedules this function of a module chooses, past their store, which would give others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, choose)
        patch.setattr(store, "find", lambda *_: None)
        patch.setattr(store, "keep", lambda *_: None)
        yield


def bundled(cases: Mapping[str, Callable[[Net], str]]) -> Model:
    """All cases as one model, whose outputs are case0, case1 and so on."""
    bundle = under_construction()
    for i, case in enumerate(cases.values()):
        bundle.output(f"case{i}", case(bundle))
    return sized(bundle)


def answers_of_cases(
    cases: Mapping[str, Callable[[Net], str]], target: str = "host"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both answers of each case, all cases built as one model."""
    ours, theirs = answers(bundled(cases), target)
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(cases)}
