"""PyTorch gives what ONNX Runtime gives: for every operator, with every loss, and for real networks."""

import dataclasses

import numpy as np
import pytest
from onnx import TensorProto, helper

from pfir.frontends import load
from pfir.passes.base import Context
from pfir.passes.batch_norm.restore import RestoreBatchNorm
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.passes.distillation.losses import RELATIVE
from pfir.passes.pipeline import run
from pfir.passes.quantization.qdq.fake_quantize import fake_quantized
from pfir.run.session import Session
from pfir.train.canonical import canonicalize
from pfir.train.canonical.supported import DIFFERENTIABLE
from pfir.train.engines.choice import ORT, TORCH
from pfir.train.mean_gradients import mean_gradients
from pfir.train.steps import Steps
from tests.support.calibration import samples
from tests.support.models import REAL, shared_model
from tests.support.net import model_of, normal
from tests.support.quantizing import quantized
from tests.support.small_nets import after_conv, classifier, dense_layers, residual, separable
from tests.test_train.slopes import slope_error
from tests.test_train.test_canonical.test_canonicalize import CASES, case
from tests.test_train.test_engines.sides import assert_alike, need_both, towards_noise

need_both()

from pfir.train.engines.pytorch.functions.table import FUNCTIONS  # noqa: E402


def ints(*values):
    return np.array(values, np.int64)


MORE = {
    "Relu": case("Relu"),
    "LeakyRelu": case("LeakyRelu", {"alpha": 0.2}),
    "Sigmoid": case("Sigmoid"),
    "Tanh": case("Tanh"),
    "Erf": case("Erf"),
    "Exp": case("Exp"),
    "Abs": case("Abs"),
    "Neg": case("Neg"),
    "Sin": case("Sin"),
    "Cos": case("Cos"),
    "Round": case("Round"),
    "Gelu": case("Gelu", opset=20),
    "LogSoftmax": case("LogSoftmax", {"axis": 1}),
    "Add": case("Add", constants={"a": normal(4, 1, 1)}),
    "Sub": case("Sub", constants={"a": normal(1, 6, 6)}),
    "Mul": case("Mul", constants={"a": normal(4, 1, 1)}),
    "Div": case("Div", constants={"a": 2 + normal(4, 1, 1) ** 2}),
    "Max": case("Max", constants={"a": normal(4, 1, 1), "b": normal(6)}),
    "Min": case("Min", constants={"a": normal(4, 1, 1), "b": normal(6)}),
    "Clip below": case("Clip", constants={"low": np.float32(0.1)}),
    "MatMul": case("MatMul", constants={"m": normal(6, 5)}),
    "MaxPool": case("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "MaxPool with a last window": case("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "MaxPool dilated": case("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    "AveragePool": case("AveragePool", {"kernel_shape": [3, 2], "pads": [1, 1, 0, 1]}),
    "AveragePool of pads": case("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 0, 1], "count_include_pad": 1}),
    "AveragePool without pads": case("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "GlobalAveragePool": case("GlobalAveragePool"),
    "ReduceMean": case("ReduceMean", {"axes": [2, 3], "keepdims": 0}),
    "ReduceMean of all": case("ReduceMean", {"axes": [-1, 1], "keepdims": 1}),
    "ReduceMean by input": case("ReduceMean", constants={"axes": ints(-1)}, opset=18),
    "ReduceSum": case("ReduceSum", {"keepdims": 0}, {"axes": ints(1, 2)}),
    "ReduceL2": case("ReduceL2", {"axes": [2, 3]}),
    "ReduceLogSumExp": case("ReduceLogSumExp", {"axes": [1]}),
    "Split": case("Split", {"axis": 1}),
    "Gather": case("Gather", {"axis": 1}, {"i": np.array([[0, -1], [2, 2]], np.int64)}),
    "Transpose": case("Transpose", {"perm": [0, 2, 3, 1]}),
    "Reshape": case("Reshape", constants={"to": ints(0, -1, 4)}),
    "Flatten": case("Flatten"),
    "Slice by steps": case("Slice", constants={"start": ints(1), "end": ints(9), "axes": ints(2), "by": ints(2)}),
    "Unsqueeze": case("Unsqueeze", constants={"axes": ints(-1, 1)}),
    "Tile": case("Tile", constants={"by": ints(1, 2, 1, 3)}),
    "Pad with a value": case("Pad", constants={"pads": ints(0, 0, 1, 0, 0, 0, -1, 2), "v": np.float32(3)}),
    "Trilu": case("Trilu", {"upper": 0}, {"k": np.array(1, np.int64)}),
    "Identity": case("Identity"),
    "Pow of a root": case("Pow", constants={"three": np.float32(3)}),
    "ConvTranspose to a size": case(
        "ConvTranspose", {"strides": [2, 2], "output_shape": [12, 11]}, {"k": normal(4, 2, 3, 3, scale=0.4)}
    ),
}
ALL = {**CASES, **MORE}
# What ONNX Runtime fails at: steps backwards, indices, some axes; and its Gelu has one gradient for both forms.
ALONE = {
    "Gelu by tanh": case("Gelu", {"approximate": "tanh"}, opset=20),
    "Slice": case("Slice", constants={"start": ints(1, -1), "end": ints(9, -9), "axes": ints(2, 3), "by": ints(2, -2)}),
    "GatherElements": case("GatherElements", {"axis": 2}, {"i": np.full((4, 4, 2, 6), -2, np.int64)}),
    "GatherND": case("GatherND", constants={"i": np.array([[0, 1], [3, 2], [1, 0], [2, 2]], np.int64)}),
    "Pad of axes": case("Pad", constants={"pads": ints(1, 2), "": None, "axes": ints(-1)}, opset=18),
    "Pad by reflection": case("Pad", {"mode": "reflect"}, {"pads": ints(0, 0, 1, 0, 0, 0, 2, 1)}),
    "CumSum": case("CumSum", constants={"axis": np.array(2, np.int64)}),
    "Einsum": case("Einsum", {"equation": "nchw,cd->ndhw"}, {"m": normal(4, 3)}),
    "Mod of floats": case("Mod", {"fmod": 1}, {"by": np.float32(0.7)}),
}


def behind(nodes, held=None, opset=17):
    """image [N, 3, 6, 6] -> Conv to x, 4 channels -> these nodes -> y."""
    conv = helper.make_node("Conv", ["image", "weight", "bias"], ["x"], "conv", pads=[1, 1, 1, 1])
    nodes = [conv, *(helper.make_node(op, i, o, f"n{k}", **a) for k, (op, i, o, a) in enumerate(nodes))]
    arrays = {"weight": normal(4, 3, 3, 3, scale=0.4), "bias": normal(4), **(held or {})}
    return model_of(nodes, arrays, {"image": ["N", 3, 6, 6]}, {"y": None}, opset)


SQUARE = ("Mul", ["x", "x"], ["s"], {})
NETS = {
    "Expand": behind(
        [("ReduceMean", ["x"], ["m"], {"axes": [2, 3]}), ("Expand", ["m", "to"], ["y"], {})], {"to": ints(1, 4, 6, 5)}
    ),
    "Log": behind([SQUARE, ("Add", ["s", "one"], ["t"], {}), ("Log", ["t"], ["y"], {})], {"one": np.float32(1)}),
    "Reciprocal": behind(
        [SQUARE, ("Add", ["s", "one"], ["t"], {}), ("Reciprocal", ["t"], ["y"], {})], {"one": np.float32(1)}
    ),
    "Sqrt": behind([SQUARE, ("Add", ["s", "one"], ["t"], {}), ("Sqrt", ["t"], ["y"], {})], {"one": np.float32(1)}),
    "Where": behind(
        [("Greater", ["x", "zero"], ["c"], {}), SQUARE, ("Where", ["c", "s", "x"], ["y"], {})], {"zero": np.float32(0)}
    ),
    "Concat": behind([SQUARE, ("Concat", ["s", "x"], ["y"], {"axis": -3})]),
    "TopK": behind([("TopK", ["x", "k"], ["y", "i"], {"axis": 1})], {"k": ints(2)}),
    "Squeeze": behind(
        [("ReduceMean", ["x"], ["m"], {"axes": [2, 3]}), ("Squeeze", ["m", "a"], ["y"], {})], {"a": ints(2, -1)}
    ),
    "Cast": behind(
        [("Cast", ["x"], ["d"], {"to": TensorProto.DOUBLE}), ("Cast", ["d"], ["y"], {"to": TensorProto.FLOAT})]
    ),
    "ScatterElements": behind(
        [SQUARE, ("ScatterElements", ["x", "i", "u"], ["t"], {"axis": 1}), ("Add", ["t", "s"], ["y"], {})],
        {"i": np.full((4, 1, 6, 6), -1, np.int64), "u": normal(4, 1, 6, 6)},
    ),
    "ScatterND": behind(
        [("ScatterND", ["x", "i", "u"], ["y"], {})], {"i": np.array([[0], [2]], np.int64), "u": normal(2, 4, 6, 6)}
    ),
    "sizes at run time": behind(
        [
            ("Shape", ["x"], ["n"], {}),
            ("Gather", ["n", "first"], ["f"], {}),
            ("Concat", ["f", "rest"], ["to"], {"axis": 0}),
            ("Reshape", ["x", "to"], ["y"], {}),
        ],
        {"first": ints(0), "rest": ints(-1)},
    ),
    "a constant by its shape": behind(
        [("Shape", ["x"], ["n"], {}), ("ConstantOfShape", ["n"], ["c"], {}), ("Add", ["x", "c"], ["y"], {})]
    ),
    "dense layers": dense_layers(),
    "residual": residual(),
    "separable": separable(),
}


def image(model, count=8):
    (taken,) = model.inputs()
    return {taken.name: normal(count, *taken.shape[1:], seed=1)}


@pytest.mark.parametrize("name", ALL)
def test_an_operator_has_the_same_outputs_and_gradients(name):
    model = after_conv(**ALL[name])
    assert_alike(*towards_noise(model, image(model)))


@pytest.mark.parametrize("name", ALONE)
def test_where_onnx_runtime_has_none_the_gradient_is_the_slope_of_the_loss(name):
    assert slope_error(after_conv(**ALONE[name]), normal(8, 3, 6, 6, seed=1), engine=TORCH) < 0.02


@pytest.mark.parametrize("name", NETS)
def test_operators_together_have_the_same_outputs_and_gradients(name):
    assert_alike(*towards_noise(NETS[name], image(NETS[name])))


def test_every_operator_that_onnx_runtime_differentiates_has_a_function():
    assert set(FUNCTIONS) >= DIFFERENTIABLE | set(canonicalize._REWRITES)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("after", [0, 1])
def test_recurrent_layers_have_the_same_gradients(op, after):
    model = recurrent(op, after)
    assert_alike(*towards_noise(model, {"image": normal(8, 6, 4)}))


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_recurrent_layers_run_backwards(op, direction):
    model, image = recurrent(op, 1, direction), normal(4, 6, 4)
    graph, _ = towards_noise(model, {"image": image})
    expected = Session(model).predict({"image": image})["y"]
    assert slope_error(model, image, engine=TORCH) < 0.02
    (taken,) = graph.teacher_inputs.values()
    # Where the target is the model's own output nothing is lost.
    feeds = {"image": image, taken: expected}
    assert Steps(graph, feeds, engine=TORCH)({}, feeds)[0] < 1e-9


def recurrent(op, after, direction="forward"):
    """image [N, 6, 4] -> all hidden states of the layer."""
    gates, ways = {"LSTM": 4, "GRU": 3}[op], 2 if direction == "bidirectional" else 1
    more = {"hidden_size": 5, "direction": direction} | ({"linear_before_reset": after} if op == "GRU" else {})
    nodes = [
        helper.make_node("Transpose", ["image"], ["steps"], "turn", perm=[1, 0, 2]),
        helper.make_node(op, ["steps", "w", "r", "b"], ["all"], "op", **more),
        helper.make_node("Transpose", ["all"], ["y"], "back", perm=[2, 0, 1, 3]),
    ]
    held = {"w": normal(ways, gates * 5, 4, scale=0.4), "r": normal(ways, gates * 5, 5, scale=0.4)}
    held |= {"b": normal(ways, gates * 10, scale=0.1)}
    return model_of(nodes, held, {"image": ["N", 6, 4]}, {"y": ["N", 6, ways, 5]})


@pytest.mark.parametrize("frozen", [False, True])
def test_batch_norm_and_its_statistics_move_alike(frozen):
    settings = DistillationSettings(label_weight=1.0, frozen_batch_norm=frozen)
    graph = attach_teacher(classifier(), None, settings)
    assert_alike(graph, {"image": normal(64, 3, 8, 8), graph.labels: np.arange(64) % 5}, jobs=2)


def test_the_loss_of_distillation_and_labels_is_the_same():
    graph = attach_teacher(classifier(), classifier(seed=1), DistillationSettings(label_weight=0.3))
    (taken,) = graph.teacher_inputs.values()
    feeds = {"image": normal(32, 3, 8, 8), graph.labels: np.arange(32) % 5, taken: normal(32, 5)}
    assert_alike(graph, feeds)


@pytest.mark.parametrize("kind", RELATIVE)
def test_losses_of_values_are_the_same(kind):
    settings = DistillationSettings(loss=kind, target_weight=0.5)
    graph = attach_teacher(after_conv("Tanh"), after_conv("Tanh"), settings)
    (taken,) = graph.teacher_inputs.values()
    feeds = {"image": normal(32, 3, 6, 6), graph.targets: 2 * normal(32, 4, 6, 6), taken: normal(32, 4, 6, 6, seed=5)}
    assert_alike(graph, feeds)


def test_two_smoothed_labels_are_the_same():
    settings = DistillationSettings(label_weight=1.0, label_smoothing=0.1, mixed=True)
    graph = attach_teacher(classifier(), None, settings)
    shares = np.linspace(0, 1, 32).astype(np.float32)
    labels = {graph.labels: np.arange(32) % 5, graph.label_partners: np.arange(32) % 3, graph.label_shares: shares}
    assert_alike(graph, {"image": normal(32, 3, 8, 8), **labels})


@pytest.mark.parametrize("width", [8, 12], ids=["equal", "wider"])
def test_features_and_their_adaptors_are_the_same(width):
    graph = attach_teacher(separable(), separable(width), DistillationSettings(features=("q",), feature_weight=1.0))
    graph.model.set_arrays({n: normal(*graph.model.initializers()[n].values.shape) for n in graph.trainable})
    answers = {"y": normal(32, 4, 5, 5, seed=5), "q": normal(32, width, 5, 5, seed=6)}
    feeds = {"x": normal(32, 3, 9, 9), **{ours: answers[n] for n, ours in graph.teacher_inputs.items()}}
    assert_alike(graph, feeds)


def test_mean_gradients_over_data_are_the_same():
    graph = attach_teacher(classifier(), None, DistillationSettings(label_weight=1.0))
    batches = [{"image": normal(16, 3, 8, 8, seed=s), graph.labels: np.arange(16) % 5} for s in range(3)]
    ort, torch = (mean_gradients(graph, batches, engine=engine) for engine in (ORT, TORCH))
    assert ort.keys() == torch.keys()
    for name, expected in ort.items():
        np.testing.assert_allclose(torch[name], expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("bits", [4, 8])
def test_learnt_quantization_has_the_same_gradients(bits):
    net = residual()
    fake = fake_quantized(quantized(net, samples(net), bits), bits)
    graph, feeds = towards_noise(fake.model, samples(net, 8))
    # A value between two integers may round to either.
    assert_alike(fake.training(graph), feeds, tolerance=5e-3)


@pytest.mark.parametrize("name", REAL)
def test_a_real_network_has_the_same_gradients(name):
    model = load(shared_model(name))
    (taken,) = model.inputs()
    feeds = {taken.name: normal(2, *taken.shape[1:], seed=1)}

    def activations(given, names):
        yield Session(given.until(names)).predict(feeds)

    restored, _ = run((RestoreBatchNorm(),), model, Context(activations=activations))
    graph, feeds = towards_noise(restored, feeds)
    # Through fifty layers a Relu may see another sign of what is nearly zero.
    assert_alike(dataclasses.replace(graph, frozen_batch_norm=True), feeds, tolerance=1e-2)
