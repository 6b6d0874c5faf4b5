"""A loss from a file is as untrusted as a model, and known to have gradients before anything is trained."""

import dataclasses

import numpy as np
import pytest
from onnx import TensorProto, helper

from pfir.compile.training.losses import check_losses, open_loss
from pfir.compile.training.options import parse_train
from pfir.errors import FrontendError, UsageError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier
from tests.test_compile.test_selection.search_context import run_context


def written(folder, *nodes, inputs=("logits", "teacher_logits")):
    """A loss file; each node is (operator, inputs, output)."""
    made = [
        helper.make_node(op, i, [o], o, **({"keepdims": 0} if op.startswith("Reduce") else {})) for op, i, o in nodes
    ]
    taken = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 5]) for n in inputs]
    loss = helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])
    graph = helper.make_graph(made, "loss", taken, [loss])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "loss.onnx"
    path.write_bytes(model.SerializeToString())
    return path


GAP = ("Sub", ["logits", "teacher_logits"], "gap")


def test_a_loss_that_fits_trains_a_student(tmp_path):
    path = written(tmp_path, GAP, ("Abs", ["gap"], "a"), ("ReduceMean", ["a"], "loss"))
    loss = open_loss(path, classifier())
    graph = attach_teacher(classifier(), classifier(seed=1), DistillationSettings(own=loss))
    settings = Settings(epochs=4, batch=32, learning_rate=0.05, jobs=1)
    curve = fit(graph, kinds_of_images(), settings).curve
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]


def test_an_operator_without_a_gradient_is_named(tmp_path):
    path = written(tmp_path, GAP, ("Floor", ["gap"], "whole"), ("ReduceMean", ["whole"], "loss"))
    with pytest.raises(UsageError, match=r"loss\.onnx: nothing can be learnt by this loss: .*Floor"):
        open_loss(path, classifier())


def test_what_does_not_fit_the_model_is_refused(tmp_path):
    path = written(tmp_path, ("ReduceMean", ["scores"], "loss"), inputs=("scores",))
    with pytest.raises(UsageError, match="an input scores; known are logits"):
        open_loss(path, classifier())


def test_what_is_no_model_is_refused_as_a_model_would_be(tmp_path):
    (tmp_path / "loss.onnx").write_text("loss = (a - b) ** 2")
    with pytest.raises(FrontendError, match="plain text, no ONNX model"):
        open_loss(tmp_path / "loss.onnx", classifier())


def test_the_model_is_not_changed(tmp_path):
    model, path = classifier(), written(tmp_path, GAP, ("ReduceMean", ["gap"], "loss"))
    before = model.to_bytes()
    open_loss(path, model)
    assert model.to_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("features=nowhere", "feature nowhere is not a tensor"),
        ("loss=l2,mixup=0.2", "samples cannot be mixed"),
    ],
)
def test_what_does_not_suit_the_models_or_samples_is_said_before_a_search(model, text, said):
    run = run_context(model)
    samples = dataclasses.replace(run.samples)
    if "l2" in text:
        samples.train.targets = np.zeros((len(samples.train), 4), np.float32)
    check = (samples, parse_train(text), run.models.start, run.models.teacher, "auto")
    with pytest.raises(UsageError, match=said):
        check_losses(*check)
    check_losses(samples, parse_train("lr=0.1"), *check[2:])
