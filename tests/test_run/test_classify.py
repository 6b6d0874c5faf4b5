"""Which output labels are held against, and what its numbers are."""

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.run.classify import class_count, class_scores, labels_serve, probabilities, scores_output


def spec(name, *shape, dtype="float32"):
    return TensorSpec(name, dtype, shape)


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ([spec("a", "N", 10)], "a"),
        ([spec("a", "N", 10, 1, 1)], "a"),
        ([spec("boxes", "N", 4, 8, 8), spec("b", "N", 10)], "b"),
        ([spec("a", "N", 1, 10), spec("b", "N", 10)], "b"),
        ([spec("a", "N", 10), spec("b", "N", 20)], "a"),
        ([spec("ids", "N", 10, dtype="int64"), spec("b", "N", 20)], "b"),
        ([spec("a", "N", 1)], None),
        ([spec("a", "N", 3, 4)], None),
        ([spec("a", "N", None)], None),
        ([spec("a")], None),
        ([spec("texts", "N", 3, dtype="object"), spec("list", dtype="seq(tensor(float))")], None),
        ([], None),
    ],
)
def test_labels_are_held_against_the_first_output_of_class_scores(outputs, chosen):
    found = scores_output(outputs)
    assert (found and found.name) == chosen
    assert (class_count(outputs) is None) == (chosen is None)


def test_arrays_are_chosen_as_their_specifications_are():
    outputs = {"boxes": np.zeros((2, 4, 8), np.float32), "b": np.zeros((2, 10, 1), np.float32)}
    assert class_scores(outputs).shape == (2, 10)
    assert class_scores({"boxes": outputs["boxes"]}) is None


def test_what_labels_serve_is_said_where_it_is_not_plain():
    assert labels_serve([spec("a", "N", 10)]) is None
    assert "held against output b [N, 10], the first of boxes [N, 4, 8], b [N, 10]" in labels_serve(
        [spec("boxes", "N", 4, 8), spec("b", "N", 10)]
    )
    assert "the labels serve nothing" in labels_serve([spec("boxes", "N", 4, 8), spec("mask", "N", 1)])


def test_logits_and_probabilities_give_the_same():
    logits = np.random.default_rng(0).standard_normal((5, 4))
    p = probabilities(logits)
    assert np.allclose(p.sum(1), 1) and np.allclose(probabilities(p), p)
    assert np.allclose(probabilities(np.log(p)), p)


def test_probabilities_of_a_quantized_model_are_known_though_their_sums_are_off():
    p = np.array([[0.96, 0.0, 0.0], [0.5, 0.25, 0.22]])
    assert np.allclose(probabilities(p).max(1), [1, 0.5 / 0.97])
