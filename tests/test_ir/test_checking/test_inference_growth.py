"""Small files whose tensors would be huge are read, analysed and written within little memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import FrontendError
from pfir.frontends import load
from pfir.ir.checking.inference_growth import infer_shapes, is_bounded
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from pfir.passes.simplification.simplify import Simplify

_MEMORY_BYTES, _SECONDS = 1 << 30, 60
_HUGE = np.array([1 << 28])


def _node(op: str, *inputs: str, to: str = "t", **attributes) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [to], **attributes)


def _doubled(op: str, *more: str, count: int = 26, **attributes) -> list[onnx.NodeProto]:
    """The sizes of x, doubled by every node."""
    names = [f"s{k}" for k in range(count)] + ["t"]
    pairs = zip(names, names[1:], strict=False)
    steps = [_node(op, a, *(more or [a]), to=b, **attributes) for a, b in pairs]
    return [_node("Shape", "x", to="s0"), *steps]


def _copied() -> list[onnx.NodeProto]:
    """The same, with a copy in between, so that both halves are tensors of their own."""
    nodes = [_node("Shape", "x", to="s0")]
    for k in range(26):
        nodes += [_node("Add", f"s{k}", "zero", to=f"a{k}")]
        nodes += [_node("Concat", f"s{k}", f"a{k}", to=f"s{k + 1}" if k < 25 else "t", axis=0)]
    return nodes


_BOMBS = {
    "concat": (_doubled("Concat", axis=0), {}),
    "concat of copies": (_copied(), {"zero": np.array([0])}),
    "tile": (_doubled("Tile", "two"), {"two": np.array([2])}),
    "squares": (_doubled("Mul", "s0", count=90), {}),
    "constant of shape": ([_node("ConstantOfShape", "n")], {"n": _HUGE}),
    "expand": ([_node("Expand", "one", "n")], {"n": _HUGE, "one": np.ones(1, np.float32)}),
    "tile once": ([_node("Tile", "one", "n")], {"n": _HUGE, "one": np.ones(1, np.float32)}),
    "tile beyond 64 bits": ([_node("Tile", "one", "n")], {"n": np.array([1 << 62]), "one": np.ones(4, np.float32)}),
    "range": ([_node("Range", "a", "b", "c")], {"a": np.array(0), "b": np.array(1 << 29), "c": np.array(1)}),
    "range of step 0": ([_node("Range", "a", "b", "c")], {"a": np.array(0), "b": np.array(1 << 62), "c": np.array(0)}),
    "pad": ([_node("Pad", "one", "n")], {"n": np.array([0, 1 << 28]), "one": np.ones(1, np.float32)}),
    "outer sum": (
        [_node("Add", "u", "v")],
        {"u": np.ones((1 << 14, 1), np.float32), "v": np.ones((1, 1 << 14), np.float32)},
    ),
    "outer product": (
        [_node("MatMul", "u", "v")],
        {"u": np.ones((1 << 14, 1), np.float32), "v": np.ones((1, 1 << 14), np.float32)},
    ),
    "rows picked again and again": (
        [_node("Gather", "u", "n")],
        {"u": np.ones((1, 1 << 17), np.float32), "n": np.zeros(4096, np.int64)},
    ),
}


def _file(folder: Path, nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray]) -> Path:
    """A small net with two convolutions beside the nodes, which make t."""
    rng = np.random.default_rng(0)
    weights = {"w0": (4, 3, 3, 3), "w1": (4, 4, 3, 3)}
    arrays = {**{n: rng.standard_normal(s).astype(np.float32) for n, s in weights.items()}, **arrays}
    nodes = [_node("Conv", "x", "w0", to="h"), _node("Conv", "h", "w1", to="y"), *nodes, _node("Size", "t", to="z")]
    outputs = [helper.make_tensor_value_info(n, e, None) for n, e in (("y", 1), ("z", TensorProto.INT64))]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])]
    initializers = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", given, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def _compress(path: Path) -> None:
    model = load(path)
    assert any(not g.pins for g in channel_groups(model).groups)
    for each in (Simplify(), RemoveDeadChannels()):
        each.apply(model, Context())
    fix_sizes(model)
    assert sum(t.values.nbytes for t in model.initializers().values()) < 64 << 20


@pytest.mark.parametrize("name", _BOMBS)
def test_small_files_stay_small(name, tmp_path):
    path = _file(tmp_path, *_BOMBS[name])
    child = os.fork()
    if not child:
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        try:
            _compress(path)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def _growing_rank() -> list[onnx.NodeProto]:
    names = [f"g{k}" for k in range(24)] + ["t"]
    return [_node("Gather", a, a, to=b) for a, b in zip(names, names[1:], strict=False)]


def test_shapes_of_more_and_more_axes_are_refused(tmp_path):
    path = _file(tmp_path, _growing_rank(), {"g0": np.zeros((1, 1), np.int64)})
    with pytest.raises(FrontendError, match="grow beyond all bounds"):
        load(path)


def test_sizes_that_stay_few_are_bounded_without_a_child(tmp_path, monkeypatch):
    model = load(_file(tmp_path, _doubled("Concat", axis=0, count=4), {}))
    monkeypatch.setattr(os, "fork", None)
    assert is_bounded(model.to_proto(), data_prop=True)


def test_a_depthwise_convolution_of_very_many_channels_needs_no_matrix():
    channels = 60_000
    weight = numpy_helper.from_array(np.ones((channels, 1, 1, 1), np.float32), "w")
    given, made = (helper.make_tensor_value_info(n, 1, ["n", channels, 1, 1]) for n in "xy")
    nodes = [_node("Relu", "x"), helper.make_node("Conv", ["t", "w"], ["y"], name="c", group=channels)]
    model = Model.from_proto(helper.make_model(helper.make_graph(nodes, "g", [given], [made], [weight])))
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_an_operator_at_which_inference_crashes_is_refused():
    unknown = helper.make_node("Foo", ["x"], ["a"], domain="foreign")
    nodes = [unknown, helper.make_node("EyeLike", ["a"], ["y"], dtype=1)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("foreign", 1)]
    proto = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=imports)
    with pytest.raises(FrontendError, match="onnx's own code ends the process at EyeLike"):
        infer_shapes(proto, data_prop=True)


def test_the_same_operator_with_a_known_input_is_inferred():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("EyeLike", ["x"], ["y"], dtype=1)], "g", [x], [y])
    assert infer_shapes(helper.make_model(graph)).graph.output[0].name == "y"
