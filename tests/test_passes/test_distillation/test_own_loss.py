"""A user's loss is computed as its graph says, and what does not fit is refused in a line."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.session import Session
from pfir.train.session import TrainSession
from tests.support.net import normal
from tests.support.small_nets import after_conv, classifier

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
SQUARES = [("Sub", ["logits", "teacher_logits"], "gap"), ("Mul", ["gap", "gap"], "r"), ("ReduceMean", ["r"], "loss")]


def loss_of(nodes, inputs, output=("loss", FLOAT, []), opset=17, domain=""):
    """A loss of (operator, inputs, output) with names that the student has too."""
    made = [
        helper.make_node(op, i, [o], o, domain=domain, **({"keepdims": 0} if op.startswith("Reduce") else {}))
        for op, i, o in nodes
    ]
    taken = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()]
    graph = helper.make_graph(made, "loss", taken, [helper.make_tensor_value_info(*output)])
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return Model.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8), "mine")


def scores(batch="N"):
    return {"logits": (FLOAT, [batch, 5]), "teacher_logits": (FLOAT, [batch, 5])}


def attached(loss, student=None, teacher=True, **settings):
    student = student or classifier(norm=False)
    return attach_teacher(student, classifier(seed=1) if teacher else None, DistillationSettings(own=loss, **settings))


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_the_loss_is_what_its_graph_computes(opset):
    student = classifier(norm=False)
    graph = attached(loss_of(SQUARES, scores(), opset=opset), student)
    assert graph.metrics == ("pfir_loss_own",) and graph.labels is None
    feeds = {"image": normal(8, 3, 8, 8), "pfir_loss_teacher_logits": normal(8, 5)}
    session = TrainSession(graph, {n: x.shape[1:] for n, x in feeds.items()}, 8)
    found = session.step(feeds).loss
    session.close()
    ours = Session(student).predict({"image": feeds["image"]})["logits"]
    assert found == pytest.approx(np.square(ours - feeds["pfir_loss_teacher_logits"]).mean(), rel=1e-4)
    assert np.abs(session.gradients.flat).max() > 0


def test_it_may_read_labels_of_classes():
    nodes = [("SoftmaxCrossEntropyLoss", ["logits", "labels"], "loss")]
    graph = attached(loss_of(nodes, {"logits": (FLOAT, ["N", 5]), "labels": (INT64, ["N"])}), teacher=False)
    assert graph.labels == "pfir_loss_labels" and graph.targets is None and graph.teacher is None


def test_it_may_read_values_of_an_output():
    nodes = [("Sub", ["logits", "labels"], "gap"), ("Abs", ["gap"], "a"), ("ReduceMean", ["a"], "loss")]
    shape = (FLOAT, ["N", 5])
    graph = attached(loss_of(nodes, {"logits": shape, "labels": shape}), teacher=False)
    assert graph.targets == "pfir_loss_targets" and graph.labels is None and graph.target_variance is None


def test_features_come_on_top():
    graph = attached(loss_of(SQUARES, scores()), features=("r",))
    assert graph.metrics == ("pfir_loss_own", "pfir_loss_error_r")


def test_neither_the_loss_nor_the_models_change():
    loss = loss_of(SQUARES, scores())
    before = loss.to_bytes()
    attached(loss)
    assert loss.to_bytes() == before


MEAN = [("ReduceMean", ["logits"], "loss")]
ONE = {"logits": (FLOAT, ["N", 5])}
WRONG = {
    "unknown input": (
        loss_of(
            [("Add", ["logits", "other"], "a"), ("ReduceMean", ["a"], "loss")], {**ONE, "other": (FLOAT, ["N", 5])}
        ),
        "loss mine has an input other; known are logits, teacher_logits, labels",
    ),
    "shape": (loss_of(MEAN, {"logits": (FLOAT, ["N", 7])}), r"input logits is \[N, 7\]; the model has \[N, 5\] there"),
    "rank": (loss_of(MEAN, {"logits": (FLOAT, ["N"])}), r"input logits is \[N\]; the model has \[N, 5\]"),
    "type": (
        loss_of([("Cast", ["logits"], "c"), ("ReduceMean", ["c"], "loss")], {"logits": (TensorProto.DOUBLE, ["N", 5])}),
        "input logits is float64; it must be float32",
    ),
    "no scalar": (
        loss_of([("Abs", ["logits"], "loss")], ONE, ("loss", FLOAT, ["N", 5])),
        r"gives loss float32 \[N, 5\]; one scalar is needed",
    ),
    "no output": (
        loss_of([("ReduceMean", ["teacher_logits"], "loss")], {"teacher_logits": (FLOAT, ["N", 5])}),
        "reads no output of the model; these are logits",
    ),
    "own operator": (loss_of([("Magic", ["logits"], "loss")], ONE, domain="mine"), "operator Magic .* has no gradient"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(name):
    loss, said = WRONG[name]
    with pytest.raises(UsageError, match=said):
        attached(loss)


def test_a_teacher_that_is_read_must_be_there():
    with pytest.raises(UsageError, match="an input teacher_logits, and there is no teacher"):
        attached(loss_of(SQUARES, scores()), teacher=False)


def test_an_opset_that_cannot_be_reached_is_named():
    student = after_conv("Relu", opset=9)
    student.graph.outputs[0].shape = ["N", 4, 6, 6]
    loss = loss_of([("Gelu", ["y"], "g"), ("ReduceMean", ["g"], "loss")], {"y": (FLOAT, ["N", 4, 6, 6])}, opset=20)
    with pytest.raises(UsageError, match="cannot be converted from opset 20 to the model's 9.*export it with opset 9"):
        attach_teacher(student, None, DistillationSettings(own=loss))
