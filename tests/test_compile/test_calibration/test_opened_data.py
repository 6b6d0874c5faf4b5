"""Labels serve where an output is class scores, and where they serve nothing it is said why."""

import numpy as np
import pytest

from pfir.commands.evaluate import evaluate_file, summary
from pfir.commands.opt import OptRequest, optimize
from pfir.compile.calibration.opened_data import open_given
from pfir.compile.request import Goals
from pfir.errors import DataError, UsageError
from tests.support.jobs import images, write_model
from tests.support.net import Net
from tests.support.templates import nearest_template, noisy
from tests.test_compile.test_selection.search_context import run_context

X, Y = noisy(48)
TWO = nearest_template(more_outputs=True)


def written(folder, **arrays):
    np.savez(folder / "d.npz", **arrays)
    return str(folder / "d.npz")


def test_labels_serve_one_of_several_outputs(tmp_path):
    found = evaluate_file(write_model(tmp_path, TWO), written(tmp_path, x=X, y=Y), None, None, 1)
    assert found["accuracy"] == 1.0
    assert "held against output flatten" in found["notes"][0] and "accuracy 100.00 %" in summary(found)


def test_a_drop_can_be_asked_of_a_model_with_several_outputs(tmp_path):
    options = {"data": written(tmp_path, x=X, y=Y), "goals": Goals(max_drop=1.0)}
    found = run_context(write_model(tmp_path, TWO), **options).samples
    assert found.labelled and any("held against" in note for note in found.notes)


def test_labels_that_fit_no_output_are_left_out_and_it_is_said_why(tmp_path):
    data, said = open_given(written(tmp_path, x=X, y=np.arange(48)), TWO, None, None)
    assert data.labels is None and len(data) == 48
    assert "the labels serve nothing: label 47 is no class of its output" in said[0]
    with pytest.raises(DataError, match="--metric accuracy needs labels.*label 47 is no class"):
        run_context(write_model(tmp_path, TWO), data=written(tmp_path, x=X, y=np.arange(48)), metric="accuracy")


def test_labels_of_no_classifier_are_said_to_serve_nothing(tmp_path):
    net = Net(0)
    path = write_model(tmp_path, net.model((net.conv(net.input("N", 3, 16, 16), 3, 4),)))
    found = evaluate_file(path, written(tmp_path, x=images(4), y=np.arange(4)), None, None, 1)
    assert "the labels serve nothing: no output of the model" in summary(found) and "no labels" not in summary(found)


def test_floats_that_fill_the_output_are_its_values(tmp_path):
    net = Net(0)
    model = net.model((net.dense(net.input("N", 8), 8, 3),))
    x, y = np.ones((6, 8), np.float32), np.random.default_rng(0).normal(size=(6, 3))
    data, said = open_given(written(tmp_path, x=x, y=y), model, None, None)
    assert data.labels is None and said == ()
    np.testing.assert_array_equal(data.subset(np.array([4, 1])).targets, y[[4, 1]].astype(np.float32))
    assert data.fingerprint() != open_given(written(tmp_path, x=x, y=y + 1), model, None, None)[0].fingerprint()
    with pytest.raises(DataError, match=r"values y are \[6, 2\]; the model's output is \[N, 3\]"):
        open_given(written(tmp_path, x=x, y=y[:, :2]), model, None, None)
    assert open_given(written(tmp_path, x=x, y=np.arange(6.0) % 3), model, None, None)[0].labels.max() == 2


def test_evaluate_warns_of_data_that_does_not_suit(tmp_path):
    found = evaluate_file(write_model(tmp_path, nearest_template()), written(tmp_path, x=X * 255, y=Y), None, None, 1)
    assert "divided by 255" in summary(found) and "accuracy" in summary(found).splitlines()[-1]


@pytest.mark.parametrize("option", ["preprocess", "classes"])
def test_how_data_is_read_is_said_with_data_alone(tmp_path, option):
    path = write_model(tmp_path)
    with pytest.raises(UsageError, match=f"--{option} says how to read data"):
        run_context(path, **{option: "scale=1"})
    options = {"preprocess": None, "classes": None, option: "scale=1"}
    with pytest.raises(UsageError, match=f"--{option} says how to read data"):
        optimize(OptRequest(path, "simplify", tmp_path / "o.onnx", **options))
