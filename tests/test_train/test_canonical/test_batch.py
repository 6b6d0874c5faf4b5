"""Models of a fixed batch train with another one."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import TrainingError
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.run.session import Session
from pfir.train.canonical.batch import own_batch, with_batch
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.net import model_of, normal
from tests.support.runs import run
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier


def reshaping(sizes, op="Reshape"):
    """image [1, 3, 8, 8] -> mean -> reshaped by a literal -> MatMul -> y."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["p"], "pool"),
        helper.make_node(op, ["p", "sizes"], ["f"], "reshape"),
        helper.make_node("MatMul", ["f", "w"], ["y"], "matmul"),
    ]
    held = {"sizes": np.array(sizes, np.int64), "w": normal(3, 4)}
    return model_of(nodes, held, {"image": [1, 3, 8, 8]}, {"y": [1, 4]})


def joined():
    """image [1, 3, 8, 8] -> Conv, beside a constant of batch 1 -> y."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv"),
        helper.make_node("Concat", ["c", "k"], ["y"], "join", axis=1),
    ]
    held = {"w": normal(2, 3, 3, 3, scale=0.3), "k": normal(1, 1, 6, 6)}
    return model_of(nodes, held, {"image": [1, 3, 8, 8]}, {"y": None})


@pytest.mark.parametrize("sizes", [[1, -1], [1, 3], [-1, 3], [0, 3]])
def test_literal_shapes_follow_the_batch(sizes):
    model, images = reshaping(sizes), normal(5, 3, 8, 8)
    wide = run(with_batch(model, {"image": (5, 3, 8, 8)}), {"image": images})[0]
    np.testing.assert_allclose(wide, Session(model).predict({"image": images})["y"], rtol=1e-5)


def test_the_own_batch_is_told():
    assert own_batch(classifier(batch=1)) == 1
    assert own_batch(classifier()) is None


def test_a_model_that_mixes_samples_keeps_its_batch():
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["m"], "mean", axes=[0], keepdims=1),
        helper.make_node("Sub", ["image", "m"], ["y"], "centre"),
    ]
    model = model_of(nodes, {}, {"image": [2, 3, 4, 4]}, {"y": [2, 3, 4, 4]})
    with pytest.raises(TrainingError, match="works with a batch of 2 only"):
        with_batch(model, {"image": (6, 3, 4, 4)})


def test_a_model_that_fails_in_another_batch_says_so():
    model = joined()
    with pytest.raises(TrainingError, match="cannot run with another batch"):
        with_batch(model, {"image": (4, 3, 8, 8)})


def test_a_net_bound_to_its_batch_trains_sample_by_sample():
    model, student = joined(), joined()
    student.set_arrays({"w": model.initializers()["w"].values * 0.5})
    curve = fit(
        attach_teacher(student, model), kinds_of_images(), Settings(epochs=3, batch=8, learning_rate=0.1, jobs=1)
    ).curve
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
