"""Small nets for the trainer's tests, and what is measured on them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.canonical.batch import with_batch
from pfir.train.canonical.canonicalize import canonicalize
from pfir.train.runtime import inference
from pfir.train.session import TrainSession


def model_of(nodes, constants, inputs, outputs, opset=17) -> Model:
    """A model of float inputs and outputs given as name to shape; None leaves a shape to inference."""
    info = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in w.items()] for w in (inputs, outputs)]
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "net", *info, held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return Model.from_proto(onnx.shape_inference.infer_shapes(proto), "net")


def normal(*shape, seed=0, scale=1.0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape, scale=scale).astype(np.float32)


def after_conv(op, attrs=None, constants=None, opset=17) -> Model:
    """image [N, 3, 6, 6] -> Conv to 4 channels -> the operator -> y."""
    constants = constants or {}
    nodes = [
        helper.make_node("Conv", ["image", "weight", "bias"], ["inner"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node(op, ["inner", *constants], ["y"], "op", **(attrs or {})),
    ]
    held = {"weight": normal(4, 3, 3, 3, scale=0.4), "bias": normal(4)}
    held |= {n: v for n, v in constants.items() if n}
    return model_of(nodes, held, {"image": ["N", 3, 6, 6]}, {"y": None}, opset)


def classifier(seed=0, batch="N", norm=True) -> Model:
    """image [N, 3, 8, 8] -> Conv, BatchNormalization, Relu, mean, Gemm -> logits [N, 5]."""
    nodes = [helper.make_node("Conv", ["image", "w"], ["c"], "conv", pads=[1, 1, 1, 1])]
    held = {"w": normal(6, 3, 3, 3, seed=seed, scale=0.4), "fw": normal(5, 6, seed=seed), "fb": np.zeros(5, np.float32)}
    if norm:
        nodes.append(helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], "norm"))
        held |= {"scale": np.ones(6, np.float32), "shift": np.zeros(6, np.float32)}
        held |= {"mean": np.zeros(6, np.float32), "var": np.ones(6, np.float32)}
    nodes += [
        helper.make_node("Relu", ["n" if norm else "c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["logits"], "gemm", transB=1),
    ]
    return model_of(nodes, held, {"image": [batch, 3, 8, 8]}, {"logits": [batch, 5]})


class Images(Dataset):
    """Images of five kinds: each has its own mean colour pattern."""

    kind, inputs = "given", ("image",)

    def __init__(self, count=96, labelled=True, size=8) -> None:
        random = np.random.default_rng(3)
        kinds = random.integers(0, 5, count)
        patterns = random.normal(size=(5, 3, size, size))
        self._x = (patterns[kinds] + random.normal(size=(count, 3, size, size), scale=0.3)).astype(np.float32)
        self.labels = kinds.astype(np.int64) if labelled else None

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, indices):
        return {"image": self._x[indices]}

    def fingerprint(self) -> str:
        return f"images {len(self)} {self.labels is None}"


def predict(model: Model, **feeds) -> list[np.ndarray]:
    return inference(model, 1).run(None, feeds)


def canonical_output(model: Model, image: np.ndarray) -> np.ndarray:
    sized = with_batch(model, {"image": image.shape})
    return predict(canonicalize(sized, ("weight", "bias")).model, image=image)[0]


def slope_error(model: Model, image: np.ndarray, settings=None) -> float:
    """How far the gradient is from a central difference along its own direction, as a share of it."""
    target = predict(model, image=image)
    graph = attach_teacher(model, model, settings or DistillationSettings(teacher_weight=1.0))
    feeds = {"image": image}
    for i, taken in enumerate(graph.teacher_inputs.values()):
        feeds[taken] = target[i] + normal(*target[i].shape, seed=9)
    session = TrainSession(graph, {n: x.shape[1:] for n, x in feeds.items()}, len(image))
    session.step(feeds)
    gradient = session.gradients.flat.copy()
    direction = gradient / np.linalg.norm(gradient)
    start, width = session.parameters.flat.copy(), 3e-4
    losses = []
    for sign in (1, -1):
        session.parameters.flat[:] = start + sign * width * direction
        losses.append(session.step(feeds).loss)
    return abs((losses[0] - losses[1]) / (2 * width) / np.linalg.norm(gradient) - 1)
