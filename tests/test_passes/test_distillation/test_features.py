"""Features are found before pooling, matched as they are or through an adaptor that no student keeps."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.shapes import infer_shapes
from pfir.ir.training import trainable_initializers
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.passes.distillation.features import AUTO_FEATURES, last_spatial
from pfir.train.feeding.source import Source
from pfir.train.session import TrainSession
from pfir.train.settings import Settings
from tests.support.models import shared_model
from tests.support.net import model_of, normal
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier, dense_layers, residual, separable

AUTO = DistillationSettings(features=AUTO_FEATURES, feature_weight=0.5)


def narrow(channels=3):
    """As `classifier`, with fewer channels."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["logits"], "gemm", transB=1),
    ]
    held = {"w": normal(channels, 3, 3, 3, scale=0.4), "fw": normal(5, channels), "fb": np.zeros(5, np.float32)}
    return model_of(nodes, held, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 5]})


@pytest.mark.parametrize(
    ("model", "name"),
    [(classifier(), "r"), (residual(), "r2"), (separable(), "y"), (dense_layers(), None)],
    ids=["classifier", "residual", "separable", "dense"],
)
def test_the_last_tensor_with_height_and_width_is_found(model, name):
    infer_shapes(model)
    assert last_spatial(model) == name


@pytest.mark.parametrize(
    "name",
    ["resnet20_cifar10_fp32.onnx", "efficientnet_lite0_in1k_fp32_static.onnx", "mltk_keyword_spotting_fp32.onnx"],
)
def test_in_real_networks_it_is_what_is_pooled(name):
    model = load(shared_model(name))
    infer_shapes(model)
    found = model.graph.tensors()[last_spatial(model)]
    assert "Pool" in found.outputs[0].op or "Reduce" in found.outputs[0].op


def test_equal_shapes_are_matched_as_they_are():
    graph = attach_teacher(classifier(), classifier(seed=1), AUTO)
    assert graph.metrics == ("pfir_loss_distillation", "pfir_loss_error_r")
    assert graph.teacher_inputs["r"] == "pfir_loss_teacher_r"
    assert graph.trainable == trainable_initializers(classifier())


def test_fewer_channels_go_through_an_adaptor_that_learns_before_the_student_does():
    student = narrow()
    graph = attach_teacher(student, classifier(), AUTO)
    assert graph.trainable[-2:] == ("pfir_loss_adaptor_r", "pfir_loss_adaptor_bias_r")
    source = Source(graph, kinds_of_images(), Settings(batch=16, jobs=1))
    session = TrainSession(graph, source.shapes(), 16)
    for feeds in source.feeds(0, 1):
        session.step(feeds)
    assert np.abs(session.gradients.views["pfir_loss_adaptor_r"]).max() > 0
    assert session.gradients.views["pfir_loss_adaptor_r"].shape == (6, 3, 1, 1)
    session.close()
    source.close()


def test_nothing_is_matched_where_nothing_has_height_and_width():
    model = dense_layers()
    assert attach_teacher(model, model, AUTO).metrics == ("pfir_loss_distillation",)


def test_shapes_that_differ_by_more_than_channels_are_refused():
    student = classifier()
    student.graph.nodes[0].attrs["pads"] = [0, 0, 0, 0]
    with pytest.raises(UsageError, match=r"feature r is .*6, 6\] in the student and r is .*8, 8\] in the teacher"):
        attach_teacher(student, classifier(), DistillationSettings(features=("r",)))
