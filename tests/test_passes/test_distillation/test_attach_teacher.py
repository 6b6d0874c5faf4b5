"""The distillation rewrite: what it learns from, what it leaves alone, what it refuses."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.ir.training import trainable_initializers
from pfir.passes.distillation.attach_teacher import (
    DistillationSettings,
    attach_teacher,
    is_classifier,
)
from tests.support.net import model_of, normal
from tests.support.small_nets import after_conv, classifier, dense_layers


def with_softmax():
    nodes = [
        helper.make_node("Flatten", ["image"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w", "b"], ["scores"], "gemm"),
        helper.make_node("Softmax", ["scores"], ["classes"], "softmax"),
    ]
    held = {"w": normal(12, 4), "b": normal(4)}
    return model_of(nodes, held, {"image": ["N", 3, 2, 2]}, {"classes": ["N", 4]})


def test_neither_model_changes():
    student, teacher = classifier(), classifier(seed=1)
    before = student.to_bytes(), teacher.to_bytes()
    attach_teacher(student, teacher, DistillationSettings(label_weight=0.5))
    assert (student.to_bytes(), teacher.to_bytes()) == before


def test_a_classifier_learns_from_teacher_and_labels():
    graph = attach_teacher(classifier(), classifier(seed=1), DistillationSettings(label_weight=0.5))
    assert graph.metrics == ("pfir_loss_distillation", "pfir_loss_cross_entropy")
    assert graph.teacher_inputs == {"logits": "pfir_loss_teacher_logits"}
    assert graph.labels == "pfir_loss_labels"


def test_without_label_weight_no_labels_are_asked_for():
    assert attach_teacher(classifier(), classifier()).labels is None


def test_a_softmax_at_the_end_is_looked_through():
    graph = attach_teacher(with_softmax(), with_softmax())
    assert [t.name for t in graph.teacher.graph.outputs] == ["scores"]
    assert is_classifier(with_softmax())


def test_other_outputs_learn_their_relative_error():
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    assert graph.metrics == ("pfir_loss_error_y",)
    assert graph.variances == {"y": "pfir_loss_variance_y"}
    assert not is_classifier(after_conv("Relu"))


@pytest.mark.parametrize("kind", ["l1", "huber", "wing"])
def test_class_scores_may_be_taken_for_values(kind):
    graph = attach_teacher(classifier(), classifier(), DistillationSettings(loss=kind))
    assert graph.metrics == ("pfir_loss_error_logits",) and graph.variances == {"logits": "pfir_loss_variance_logits"}


def test_values_of_the_data_are_learnt_with_a_teacher_or_without():
    settings = DistillationSettings(target_weight=0.5)
    taught = attach_teacher(classifier(), classifier(), settings)
    assert taught.metrics == ("pfir_loss_error_logits", "pfir_loss_target_logits")
    alone = attach_teacher(classifier(), None, settings)
    assert alone.metrics == ("pfir_loss_target_logits",) and alone.teacher is None
    assert (alone.targets, alone.target_variance) == ("pfir_loss_targets", "pfir_loss_target_variance")


def test_values_are_for_one_output():
    model = dense_layers()
    model.graph.outputs.append(model.graph.tensors()["r"])
    model.graph.outputs[-1].dtype = np.float32
    with pytest.raises(UsageError, match="the data's values are for one output; the model has 2: y, r"):
        attach_teacher(model, model, DistillationSettings(target_weight=1.0))


def test_mixed_samples_have_two_labels():
    graph = attach_teacher(classifier(), None, DistillationSettings(label_weight=1.0, mixed=True))
    assert (graph.label_partners, graph.label_shares) == ("pfir_loss_label_partners", "pfir_loss_label_shares")


def test_features_become_outputs_of_the_teacher():
    graph = attach_teacher(classifier(), classifier(), DistillationSettings(features=("r",)))
    assert [t.name for t in graph.teacher.graph.outputs] == ["logits", "r"]
    assert set(graph.teacher_inputs) == {"logits", "r"}


def test_weights_biases_and_scales_are_trained_but_statistics_are_not():
    assert trainable_initializers(classifier()) == ("w", "scale", "shift", "fw", "fb")


def test_a_bias_beside_a_matmul_is_trained_and_a_constant_elsewhere_is_not():
    nodes = [
        helper.make_node("Add", ["x", "offset"], ["a"], "shift"),
        helper.make_node("MatMul", ["a", "w"], ["m"], "matmul"),
        helper.make_node("Add", ["m", "b"], ["y"], "bias"),
    ]
    held = {"offset": normal(4), "w": normal(4, 3), "b": normal(3)}
    assert trainable_initializers(model_of(nodes, held, {"x": ["N", 4]}, {"y": ["N", 3]})) == ("w", "b")


def test_a_teacher_with_other_outputs_is_refused():
    with pytest.raises(UsageError, match="the teacher's outputs are classes; the student's are logits"):
        attach_teacher(classifier(), with_softmax())


def test_a_teacher_whose_classes_cannot_be_told_is_refused():
    teacher = classifier()
    teacher.graph.outputs[0].shape = None
    with pytest.raises(UsageError, match="the teacher's output logits has no known number of classes"):
        attach_teacher(classifier(), teacher)


def test_an_unknown_feature_is_refused():
    with pytest.raises(UsageError, match="feature nowhere is not a tensor of both"):
        attach_teacher(classifier(), classifier(), DistillationSettings(features=("nowhere",)))


def test_features_without_a_teacher_are_refused():
    with pytest.raises(UsageError, match="features are given but no teacher"):
        attach_teacher(classifier(), None, DistillationSettings(label_weight=1, features=("r",)))


def test_no_teacher_and_no_classes_leave_nothing_to_learn():
    with pytest.raises(UsageError, match="not class scores"):
        attach_teacher(after_conv("Relu"), None, DistillationSettings(label_weight=1))


def test_weights_of_zero_leave_nothing_to_learn():
    with pytest.raises(UsageError, match="nothing to learn from"):
        attach_teacher(classifier(), classifier(), DistillationSettings(teacher_weight=0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"teacher_weight": -1},
        {"label_weight": np.nan},
        {"target_weight": -1},
        {"label_smoothing": 1},
        {"loss": "cosine"},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is"):
        DistillationSettings(**wrong)
