"""Small networks that several rooms test on, by name."""

from __future__ import annotations

import numpy as np
from onnx import helper

from pfir.ir.model import Model
from tests.support.net import model_of, normal


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
    return model_of(nodes, arrays, {"x": ["N", 3, 9, 9]}, {"y": ["N", 5, None, None]})


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
    return model_of(nodes, arrays, {"x": ["N", 3, 8, 8]}, {"y": ["N", 4]})


def separable(width=8) -> Model:
    """Conv -> Relu -> depthwise Conv -> Relu -> pointwise Conv -> y."""
    arrays = weights(w1=(width, 3, 3, 3), b1=(width,), w2=(width, 1, 3, 3), b2=(width,), w3=(4, width, 1, 1), b3=(4,))
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["d"], "depthwise", group=width),
        helper.make_node("Relu", ["d"], ["q"], "relu2"),
        helper.make_node("Conv", ["q", "w3", "b3"], ["y"], "point"),
    ]
    return model_of(nodes, arrays, {"x": ["N", 3, 9, 9]}, {"y": ["N", 4, 5, 5]})


def dense_layers() -> Model:
    """Gemm (alpha, beta) -> Relu -> MatMul -> Add -> y."""
    arrays = weights(w1=(12, 9), b1=(9,), w2=(9, 5), b2=(5,))
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], "first", alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["m"], "second"),
        helper.make_node("Add", ["m", "b2"], ["y"], "plus"),
    ]
    return model_of(nodes, arrays, {"x": ["N", 12]}, {"y": ["N", 5]})


def linear(weight: np.ndarray, batch="N", name: str = "y") -> Model:
    """y [batch, K] = x [batch, A] @ weight [A, K], through a hidden tensor h = relu(y)."""
    nodes = [helper.make_node("MatMul", ["x", "w"], [name]), helper.make_node("Relu", [name], ["h"])]
    a, k = weight.shape
    return model_of(nodes, {"w": weight.astype(np.float32)}, {"x": [batch, a]}, {name: [batch, k]})


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


def _given(attributes):
    return {name: value for name, value in attributes.items() if value is not None}
