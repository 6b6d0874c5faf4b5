import numpy as np
import pytest
from onnx import helper

import pfir.run.evaluate as evaluate_module
from pfir.errors import DataError, UsageError
from pfir.run.evaluate import Reference, accuracy, evaluate, fidelity, reference
from pfir.run.session import Session
from tests.support.net import model_of
from tests.support.samples import rows
from tests.support.small_nets import linear

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4)).astype(np.float32)
W = RNG.standard_normal((4, 3)).astype(np.float32)
LABELS = (X @ W).argmax(1)


def landmarks(factor: float, shift: float = 0.0):
    """y [N, 1, 4] = factor * x + shift: no classifier."""
    nodes = [
        helper.make_node("Mul", ["x", "f"], ["s"]),
        helper.make_node("Add", ["s", "b"], ["t"]),
        helper.make_node("Unsqueeze", ["t", "a"], ["y"]),
    ]
    arrays = {"f": np.float32(factor), "b": np.float32(shift), "a": np.array([1], np.int64)}
    return model_of(nodes, {k: np.asarray(v) for k, v in arrays.items()}, {"x": ["N", 4]}, {"y": ["N", 1, 4]})


def test_accuracy_counts_right_answers():
    assert accuracy(linear(W), rows(X, LABELS)) == 1.0
    wrong = LABELS.copy()
    wrong[:10] = (wrong[:10] + 1) % 3
    assert accuracy(linear(W), rows(X, wrong), batch=7) == pytest.approx(0.8)


def test_accuracy_without_labels_is_refused():
    with pytest.raises(DataError, match="no labels"):
        accuracy(linear(W), rows(X))


def test_accuracy_of_what_is_no_classifier_is_refused():
    with pytest.raises(DataError, match="K >= 2"):
        accuracy(linear(W[:, :1]), rows(X, LABELS))


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(DataError, match="label 3 of sample 0"):
        accuracy(linear(W), rows(X, LABELS * 0 + 3))


def test_no_samples_are_refused():
    with pytest.raises(DataError, match="no samples"):
        accuracy(linear(W), rows(X[:0], LABELS[:0]))


def test_a_model_is_faithful_to_itself():
    for model in (linear(W), landmarks(2.0)):
        scores = evaluate(model, rows(X), model)
        assert scores.fidelity == 1.0
        assert scores.divergence == pytest.approx(0, abs=1e-9)


def test_fidelity_of_a_classifier_is_top_one_agreement():
    other = W.copy()
    other[:, 0] = 0
    expected = ((X @ other).argmax(1) == LABELS).mean()
    assert fidelity(linear(other), linear(W), rows(X)) == pytest.approx(expected)


def test_fidelity_of_other_outputs_is_relative_distance():
    y0, y = X, 1.3 * X + 0.1
    expected = 1 - np.linalg.norm(y - y0) / np.linalg.norm(y0 - y0.mean(0))
    assert fidelity(landmarks(1.3, 0.1), landmarks(1.0), rows(X), batch=8) == pytest.approx(expected, abs=1e-5)


def test_an_answer_that_ignores_its_input_has_no_fidelity():
    assert fidelity(landmarks(0.0), landmarks(1.0), rows(X - X.mean(0))) == pytest.approx(0, abs=1e-5)


def test_a_large_common_offset_hides_no_difference():
    near, far = (fidelity(landmarks(f, 1000.0), landmarks(1.0, 1000.0), rows(X)) for f in (1.0, 1.5))
    assert near == pytest.approx(1, abs=1e-3)
    assert far == pytest.approx(0.5, abs=0.1)


def test_nan_outputs_agree_with_nothing():
    for broken, sane in ((linear(W * np.nan), linear(W)), (landmarks(np.nan), landmarks(1.0))):
        scores = evaluate(broken, rows(X), sane)
        assert scores.fidelity == 0.0
        assert np.isfinite(scores.divergence) and scores.divergence > 1e5


def test_a_constant_output_must_be_met():
    assert fidelity(landmarks(0.0, 3.0), landmarks(0.0, 3.0), rows(X)) == 1.0
    assert fidelity(landmarks(0.0, 4.0), landmarks(0.0, 3.0), rows(X)) == 0.0


def test_cached_reference_outputs_serve_as_the_original():
    cached = reference(linear(W), rows(X), batch=8)
    assert isinstance(cached, Reference) and cached.outputs["y"].shape == (50, 3)
    other = linear(W + 0.1)
    assert evaluate(other, rows(X), cached, batch=9) == evaluate(other, rows(X), linear(W), batch=9)


def test_a_reference_of_other_data_is_refused():
    with pytest.raises(UsageError, match="other data"):
        fidelity(linear(W), reference(linear(W), rows(X)), rows(X + 1))


def test_other_outputs_than_the_originals_are_refused():
    with pytest.raises(UsageError, match="is missing"):
        fidelity(linear(W, name="z"), linear(W), rows(X))
    with pytest.raises(UsageError, match="original's is"):
        fidelity(linear(W[:, :2]), linear(W), rows(X))


def test_cross_entropy_is_the_same_for_logits_and_probabilities():
    logits = X @ W
    nodes = [helper.make_node("MatMul", ["x", "w"], ["l"]), helper.make_node("Softmax", ["l"], ["y"], axis=1)]
    soft = model_of(nodes, {"w": W}, {"x": ["N", 4]}, {"y": ["N", 3]})
    by_hand = (np.log(np.exp(logits).sum(1)) - logits[np.arange(50), LABELS]).mean()
    for model in (linear(W), soft):
        assert evaluate(model, rows(X, LABELS)).cross_entropy == pytest.approx(by_hand, rel=1e-5)


def test_divergence_of_a_classifier_is_kl():
    p, q = (np.exp(X @ w) / np.exp(X @ w).sum(1, keepdims=True) for w in (W, W * 0.5))
    expected = (p * np.log(p / q)).sum(1).mean()
    assert evaluate(linear(W * 0.5), rows(X), linear(W)).divergence == pytest.approx(expected, rel=1e-4)


def test_large_outputs_are_run_a_few_samples_at_a_time(monkeypatch):
    nodes = [helper.make_node("Tile", ["x", "times"], ["y"])]
    model = model_of(nodes, {"times": np.array([1, 2000], np.int64)}, {"x": ["N", 4]}, {"y": ["N", "wide"]})
    session, widths = Session(model), []
    by_sample = session.by_sample
    monkeypatch.setattr(evaluate_module, "_MOST_OUTPUT_BYTES", 10 * 8000 * 4)
    monkeypatch.setattr(session, "by_sample", lambda feeds: widths.append(len(feeds["x"])) or by_sample(feeds))
    assert evaluate(session, rows(X), reference(model, rows(X))).fidelity == 1.0
    assert widths == [1, *[10] * 4, 9]
