"""Small networks with calibration data, for the tests of criteria and reconstruction."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pfir.compile.training.learning import Learning
from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.run.session import Session


def model(nodes, arrays, inputs, outputs, opset=17) -> Model:
    """A model of nodes and initializers; inputs and outputs are name to shape."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in border.items()]
        for border in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    graph = helper.make_graph(nodes, "small", *values, constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(proto)
    return Model.from_proto(proto)


def weights(seed=0, **shapes) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1, shape).astype(np.float32) / 2 for name, shape in shapes.items()}


def two_convolutions(arrays=None, width=8, **attributes) -> Model:
    """x -> Conv -> Relu -> Conv -> y, with biases; the attributes go to the second convolution."""
    arrays = arrays or weights(w1=(width, 3, 3, 3), b1=(width,), w2=(5, width, 3, 3), b2=(5,))
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["y"], "second", **_given({"pads": [1, 1, 1, 1], **attributes})),
    ]
    return model(nodes, arrays, {"x": ["N", 3, 9, 9]}, {"y": ["N", 5, None, None]})


def residual(width=8) -> Model:
    """x -> Conv -> Relu -> (Conv -> Relu -> Conv, +) -> Relu -> GlobalAveragePool -> Flatten -> Gemm -> y."""
    arrays = weights(
        w0=(width, 3, 3, 3),
        b0=(width,),
        w1=(width, width, 3, 3),
        b1=(width,),
        w2=(width, width, 3, 3),
        b2=(width,),
        w3=(4, width),
        b3=(4,),
    )
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a0"], "stem", **same),
        helper.make_node("Relu", ["a0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["a1"], "inner", **same),
        helper.make_node("Relu", ["a1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["a2"], "outer", **same),
        helper.make_node("Add", ["a2", "r0"], ["s"], "add"),
        helper.make_node("Relu", ["s"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], "head", transB=1),
    ]
    return model(nodes, arrays, {"x": ["N", 3, 8, 8]}, {"y": ["N", 4]})


def separable():
    """Conv -> Relu -> depthwise Conv -> Relu -> pointwise Conv -> y."""
    arrays = weights(w1=(8, 3, 3, 3), b1=(8,), w2=(8, 1, 3, 3), b2=(8,), w3=(4, 8, 1, 1), b3=(4,))
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["d"], "depthwise", group=8),
        helper.make_node("Relu", ["d"], ["q"], "relu2"),
        helper.make_node("Conv", ["q", "w3", "b3"], ["y"], "point"),
    ]
    return model(nodes, arrays, {"x": ["N", 3, 9, 9]}, {"y": ["N", 4, 5, 5]})


def dense():
    """Gemm (alpha, beta) -> Relu -> MatMul -> Add -> y."""
    arrays = weights(w1=(12, 9), b1=(9,), w2=(9, 5), b2=(5,))
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], "first", alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["m"], "second"),
        helper.make_node("Add", ["m", "b2"], ["y"], "plus"),
    ]
    return model(nodes, arrays, {"x": ["N", 12]}, {"y": ["N", 5]})


class Samples(Dataset):
    """Arrays by input name."""

    kind = "given"

    def __init__(self, arrays, labels=None):
        self._arrays, self.inputs, self.labels = arrays, tuple(arrays), labels

    def __len__(self):
        return len(next(iter(self._arrays.values())))

    def batch(self, indices):
        return {name: x[indices] for name, x in self._arrays.items()}

    def fingerprint(self):
        return "samples"


def samples(net: Model, count=48, seed=1) -> dict[str, np.ndarray]:
    """Inputs that are correlated from place to place, as images are."""
    rng = np.random.default_rng(seed)
    shapes = {spec.name: (count, *spec.shape[1:]) for spec in net.inputs()}
    noise = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: x + 0.5 * np.roll(x, 1, -1) + 0.3 for name, x in noise.items()}


def context(net: Model, **changes) -> Context:
    """Calibration by `samples(net)`, in batches of 16."""
    feeds = samples(net)

    def activations(given, names):
        copy = given.clone()
        tensors = copy.graph.tensors()
        copy.graph.outputs = [tensors[name] for name in names if name not in feeds]
        for tensor in copy.graph.outputs:
            tensor.dtype = np.dtype(np.float32)
        session = Session(copy) if copy.graph.outputs else None
        for start in range(0, len(next(iter(feeds.values()))), 16):
            part = {name: x[start : start + 16] for name, x in feeds.items()}
            values = session.predict(part) if session else {}
            yield {name: part[name] if name in part else values[name] for name in names}

    return Context(activations=activations, **changes)


def learning(net: Model, labels=None, train=False, **changes) -> Context:
    """As `context(net)`, with the callables that labels, losses and training need."""
    filled = context(net, **changes)
    return Learning(net, Samples(samples(net), labels), filled.seed).given_to(filled, train)


def outputs(net: Model, feeds) -> np.ndarray:
    return Session(net).predict(feeds)["y"]


def _given(attributes):
    return {name: value for name, value in attributes.items() if value is not None}
