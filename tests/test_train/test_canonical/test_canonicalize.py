"""Every operator keeps its function in the training copy, and its gradient is the slope of the loss."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.ir.onnx_io.sharing import shared_again
from pfir.run.session import Session
from pfir.train.canonical.batch import with_batch
from pfir.train.canonical.canonicalize import at_opset, canonicalize, check_trainable
from tests.support.net import model_of, normal
from tests.support.runs import run
from tests.support.small_nets import after_conv, classifier
from tests.test_train.slopes import canonical_output, slope_error


def case(op, attrs=None, constants=None, opset=17):
    """An operator behind a convolution with 4 channels of 6 x 6; a constant named "" is an input left out."""
    return {"op": op, "attrs": attrs, "constants": constants, "opset": opset}


SCALES = np.array([1, 1, 2, 2], np.float32)
UNEVEN = np.array([1, 1, 1.6, 1.2], np.float32)
WIDER = normal(5, 4, 3, 3)
KERNEL = normal(4, 2, 3, 3, scale=0.4)

CASES = {
    "HardSwish": case(op="HardSwish"),
    "HardSigmoid": case(op="HardSigmoid", attrs={"alpha": 0.3, "beta": 0.4}),
    "PRelu": case(op="PRelu", constants={"slope": normal(4, 1, 1)}),
    "Elu": case(op="Elu", attrs={"alpha": 0.7}),
    "Selu": case(op="Selu"),
    "Celu": case(op="Celu", attrs={"alpha": 0.6}),
    "Mish": case(op="Mish", opset=18),
    "Softplus": case(op="Softplus"),
    "Softsign": case(op="Softsign"),
    "ThresholdedRelu": case(op="ThresholdedRelu", attrs={"alpha": 0.2}),
    "Clip": case(op="Clip", constants={"low": np.float32(-1), "high": np.float32(1)}),
    "Clip above": case(op="Clip", constants={"": None, "high": np.float32(1)}),
    "Dropout": case(op="Dropout"),
    "GlobalMaxPool": case(op="GlobalMaxPool"),
    "MaxPool same": case(op="MaxPool", attrs={"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "MaxPool same lower": case(op="MaxPool", attrs={"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    "AveragePool same": case(
        op="AveragePool", attrs={"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    ),
    "Conv same": case(op="Conv", attrs={"auto_pad": "SAME_UPPER", "strides": [2, 2]}, constants={"k": WIDER}),
    "Conv same lower": case(op="Conv", attrs={"auto_pad": "SAME_LOWER"}, constants={"k": normal(5, 4, 2, 2)}),
    "Conv depthwise": case(op="Conv", attrs={"group": 4, "pads": [1] * 4}, constants={"k": normal(4, 1, 3, 3)}),
    "Conv depthwise dilated": case(
        op="Conv",
        attrs={"group": 4, "dilations": [2, 1], "pads": [2, 1, 0, 1]},
        constants={"k": normal(4, 1, 2, 3), "b": normal(4)},
    ),
    "Conv depthwise strided": case(
        op="Conv", attrs={"group": 4, "strides": [2, 2], "pads": [1] * 4}, constants={"k": normal(4, 1, 3, 3)}
    ),
    "Conv dilated": case(op="Conv", attrs={"dilations": [2, 2], "pads": [2, 1, 2, 1]}, constants={"k": WIDER}),
    "Conv strided": case(op="Conv", attrs={"strides": [2, 2], "pads": [1] * 4}, constants={"k": normal(5, 4, 3, 3)}),
    "Conv cut": case(op="Conv", attrs={"pads": [3, 3, 3, 3]}, constants={"k": normal(5, 4, 2, 2)}),
    "InstanceNormalization": case(op="InstanceNormalization", constants={"s": normal(4), "b": normal(4)}),
    "LayerNormalization": case(op="LayerNormalization", attrs={"axis": -1}, constants={"s": normal(6), "b": normal(6)}),
    "DepthToSpace DCR": case(op="DepthToSpace", attrs={"blocksize": 2}),
    "DepthToSpace CRD": case(op="DepthToSpace", attrs={"blocksize": 2, "mode": "CRD"}),
    "SpaceToDepth": case(op="SpaceToDepth", attrs={"blocksize": 2}),
    "Sum": case(op="Sum", constants={"a": normal(4, 1, 1), "b": normal(1, 6, 6)}),
    "Mean": case(op="Mean", constants={"a": normal(4, 1, 1)}),
    "ReduceMax": case(op="ReduceMax", attrs={"axes": [2, 3], "keepdims": 0}),
    "ReduceMin": case(op="ReduceMin", attrs={"axes": [1]}),
    "ReduceL1": case(op="ReduceL1", attrs={"axes": [-1], "keepdims": 0}),
    "ReduceSumSquare": case(op="ReduceSumSquare", attrs={"axes": [2, 3]}),
    "Resize nearest": case(
        op="Resize",
        attrs={"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        constants={"": None, "scales": SCALES},
    ),
    "Resize linear": case(op="Resize", attrs={"mode": "linear"}, constants={"": None, "scales": SCALES}),
    "Resize cubic": case(op="Resize", attrs={"mode": "cubic"}, constants={"": None, "scales": UNEVEN}),
    "Resize aligned": case(
        op="Resize",
        attrs={"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        constants={"": None, "scales": SCALES},
    ),
    "ConvTranspose": case(
        op="ConvTranspose",
        attrs={"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
        constants={"k": KERNEL, "kb": normal(2)},
    ),
    "ConvTranspose groups": case(
        op="ConvTranspose", attrs={"group": 2, "strides": [3, 2], "dilations": [1, 2]}, constants={"k": KERNEL}
    ),
    "ConvTranspose same": case(
        op="ConvTranspose", attrs={"auto_pad": "SAME_UPPER", "strides": [2, 2]}, constants={"k": KERNEL}
    ),
    "Pad": case(op="Pad", constants={"pads": np.array([0, 0, 1, 0, 0, 0, 0, 2], np.int64)}),
    "Pow": case(op="Pow", constants={"two": np.float32(2)}),
    "Softmax": case(op="Softmax", attrs={"axis": 1}),
}


def build(name: str) -> Model:
    return after_conv(**CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_the_training_copy_computes_the_same(name):
    model, image = build(name), normal(4, 3, 6, 6, seed=1)
    expected = Session(model).predict({"image": image})["y"]
    np.testing.assert_allclose(canonical_output(model, image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_slope_of_the_loss(name):
    assert slope_error(build(name), normal(4, 3, 6, 6, seed=1)) < 0.02


def test_a_frozen_batch_norm_acts_as_in_inference_and_updates_nothing():
    model, image = classifier(), normal(4, 3, 8, 8)
    model.set_arrays({"mean": normal(6), "var": 1 + normal(6) ** 2})
    canonical = canonicalize(with_batch(model, {"image": image.shape}), (), frozen_batch_norm=True)
    assert canonical.statistics == {}
    expected = run(model, {"image": image})[0]
    np.testing.assert_allclose(run(canonical.model, {"image": image})[0], expected, rtol=1e-4, atol=1e-5)


def test_layers_that_share_their_statistics_are_frozen():
    shared = ["s", "b", "m", "v"]
    nodes = [helper.make_node("BatchNormalization", [x, *shared], [y], y) for x, y in (("image", "a"), ("a", "y"))]
    held = {n: np.full(3, v, np.float32) for n, v in (("s", 1), ("b", 0), ("m", 0.5), ("v", 2))}
    model = model_of(nodes, held, {"image": ["N", 3, 6, 6]}, {"y": None})
    shared_again(model.graph)
    assert canonicalize(with_batch(model, {"image": (2, 3, 6, 6)}), ()).statistics == {}


def test_an_initializer_behind_identity_is_trained_as_one():
    nodes = [
        helper.make_node("Identity", ["weight"], ["again"], "alias"),
        helper.make_node("Conv", ["image", "weight", "bias"], ["inner"], "first", pads=[1] * 4),
        helper.make_node("Conv", ["inner", "again"], ["y"], "second", pads=[1] * 4),
    ]
    held = {"weight": normal(3, 3, 3, 3, scale=0.4), "bias": normal(3)}
    model = model_of(nodes, held, {"image": ["N", 3, 6, 6]}, {"y": None})
    assert slope_error(model, normal(4, 3, 6, 6)) < 0.02


def test_old_opsets_are_converted_and_new_ones_stay():
    assert at_opset(after_conv("Relu", opset=9)).graph.opset == 17
    assert at_opset(after_conv("Relu", opset=19)).graph.opset == 19


def test_a_model_that_cannot_be_converted_is_refused(monkeypatch):
    import onnx

    def refuse(*_):
        raise RuntimeError("no adapter")

    monkeypatch.setattr(onnx.version_converter, "convert_version", refuse)
    with pytest.raises(TrainingError, match="from opset 9 to 17.*no adapter"):
        at_opset(after_conv("Relu", opset=9))


def test_what_has_no_gradient_is_named_with_its_node():
    assert check_trainable(after_conv("Floor")) == [("op", "Floor", "ONNX Runtime has no gradient for it")]
    assert check_trainable(after_conv("Relu")) == []


def test_what_lies_before_every_weight_needs_no_gradient():
    nodes = [
        helper.make_node("Floor", ["image"], ["inner"], "floor"),
        helper.make_node("Conv", ["inner", "weight", "bias"], ["y"], "conv"),
    ]
    held = {"weight": normal(3, 3, 3, 3), "bias": normal(3)}
    assert check_trainable(model_of(nodes, held, {"image": ["N", 3, 6, 6]}, {"y": None})) == []


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_recurrent_layers_get_initial_states_and_a_right_gradient(op):
    gates = {"LSTM": 4, "GRU": 3}[op]
    nodes = [
        helper.make_node("Transpose", ["image"], ["steps"], "turn", perm=[1, 0, 2]),
        helper.make_node(op, ["steps", "w", "r", "b"], ["", "state"], "op", hidden_size=5),
        helper.make_node("Squeeze", ["state", "first"], ["y"], "squeeze"),
    ]
    held = {"w": normal(1, gates * 5, 4, scale=0.4), "r": normal(1, gates * 5, 5, scale=0.4)}
    held |= {"b": normal(1, gates * 10, scale=0.1), "first": np.array([0])}
    model = model_of(nodes, held, {"image": ["N", 6, 4]}, {"y": ["N", 5]})
    assert slope_error(model, normal(4, 6, 4)) < 0.02
