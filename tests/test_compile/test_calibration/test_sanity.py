"""Data that a model is wrong on for a reason is doubted with that reason; honest data and few samples are not."""

from dataclasses import replace

import numpy as np
import pytest

from pfir.compile.calibration.sanity import OPTION, doubt, with_checked_data
from pfir.data import open_data
from pfir.errors import DataError
from pfir.report.progress import Silent
from tests.support.jobs import images, run, small_net, write_data, write_model
from tests.support.net import Net
from tests.support.templates import CLASSES, nearest_template, noisy
from tests.test_compile.test_selection.search_context import run_context

X, Y = noisy(240)
MODEL = nearest_template()
OTHER_ORDER = np.array([3, 0, 2, 5, 4, 1, 7, 6])


def doubted(folder, x, y, model=MODEL):
    np.savez(folder / "d.npz", x=np.ascontiguousarray(x, np.float32), y=y)
    return doubt(model, [open_data(folder / "d.npz", model.inputs())], 1024)


def test_a_model_that_is_right_raises_no_doubt(tmp_path):
    assert doubted(tmp_path, X, Y) is None


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X * 255, Y, "the inputs divided by 255 (scale=1/255) it is right on 100.0 %"),
        (X / 255, Y, "the inputs multiplied by 255"),
        (X * 2 - 1, Y, r"from -1..1 to 0..1"),
        (X[:, ::-1], Y, "red and blue swapped"),
        (X.swapaxes(2, 3), Y, "rows and columns swapped"),
        (X.transpose(0, 2, 3, 1).reshape(X.shape), Y, "transposed rather than reshaped"),
        (X, OTHER_ORDER[Y], "the classes are in another order than the model's: with label 0 is its 1"),
        (X, np.random.default_rng(0).permutation(Y), "the labels are likely shuffled"),
        (np.full_like(X, 900), Y, "scaled or laid out in another way"),
    ],
)
def test_the_likeliest_reason_is_told(tmp_path, x, y, words):
    found = doubted(tmp_path, x, y)
    assert found is not None and words in found.reason
    assert found.samples == 240 and 0 < found.confidence <= 1 and 0 <= found.chance < 0.5


def test_labels_that_are_one_off_are_told(tmp_path):
    fewer = Y < CLASSES - 1
    assert "with 1 taken from each label" in doubted(tmp_path, X[fewer], Y[fewer] + 1).reason


def test_a_few_classes_in_another_order_are_found_by_what_it_would_mend(tmp_path):
    order = np.arange(CLASSES)
    order[[2, 5]] = 5, 2
    assert "another order" in doubted(tmp_path, X, order[Y]).reason


@pytest.mark.parametrize("count", [1, 3, 6])
def test_few_samples_prove_nothing(tmp_path, count):
    assert doubted(tmp_path, X[:count], np.random.default_rng(count).permutation(Y[:count])) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_weak_model_that_knows_how_weak_it_is_is_not_doubted(tmp_path, seed):
    """Right on three quarters of two classes, and as sure."""
    net = Net(0)
    model = net.model((net.op("Gemm", net.input("N", 2), net.const(np.eye(2), np.float32)),))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 200)
    said = np.where(rng.random(200) < 0.75, y, 1 - y)
    x = np.log(np.where(said[:, None] == np.arange(2), 0.75, 0.25))
    assert doubted(tmp_path, x, y, model) is None


def test_two_classes_that_are_swapped_are_told(tmp_path):
    net = Net(0)
    model = net.model((net.op("Gemm", net.input("N", 2), net.const(np.eye(2), np.float32)),))
    y = np.random.default_rng(0).integers(0, 2, 100)
    x = np.where(y[:, None] == np.arange(2), 4, 0)
    assert doubted(tmp_path, x, y, model) is None
    assert "another order" in doubted(tmp_path, x, 1 - y, model).reason


def test_classes_that_are_mostly_one_are_not_taken_for_chance(tmp_path):
    """A rare class that is found half of the time: 96 % right, where saying always the other one gives 95 %."""
    net = Net(0)
    model = net.model((net.op("Gemm", net.input("N", 2), net.const(np.eye(2), np.float32)),))
    y = (np.arange(400) % 20 == 0).astype(int)
    said = y * (np.arange(400) % 40 == 0)
    said[[1, 2, 3, 4]] = 1
    x = np.where(said[:, None] == np.arange(2), 3, 0)
    assert doubted(tmp_path, x, y, model) is None


def test_probabilities_and_logits_are_told_apart(tmp_path):
    net = Net(0)
    x = net.input("N", 3)
    model = net.model((net.op("Softmax", x, axis=1),))
    y = np.random.default_rng(0).integers(0, 3, 90)
    right = np.where(y[:, None] == np.arange(3), 9, 0)
    found = doubted(tmp_path, right, (y + 1) % 3, model)
    assert found.confidence > 0.99


def test_what_is_no_classifier_or_has_no_labels_is_not_doubted(tmp_path):
    net = Net(0)
    detector = net.model((net.conv(net.input("N", 3, 8, 8), 3, 4),))
    assert doubted(tmp_path, X, Y, detector) is None
    np.savez(tmp_path / "x.npz", x=X * 255)
    assert doubt(MODEL, [open_data(tmp_path / "x.npz", MODEL.inputs())], 100) is None


def test_the_small_job_of_other_tests_is_honest(tmp_path):
    model = small_net()
    assert doubt(model, [open_data(write_data(tmp_path), model.inputs())], 1024) is None


def test_outputs_that_are_not_finite_are_wrong(tmp_path):
    net = Net(0)
    model = net.model((net.op("Log", net.input("N", 3)),))
    found = doubted(tmp_path, -np.ones((300, 3)), np.arange(300) % 3, model)
    assert found is None or found.confidence == 0


def test_a_run_stops_before_its_search(tmp_path):
    np.savez(tmp_path / "d.npz", x=X * 255, y=Y)
    with pytest.raises(DataError, match=rf"d.npz: the model as given is right on .* divided by 255 .*{OPTION}"):
        run(write_model(tmp_path, MODEL), tmp_path / "out", data=str(tmp_path / "d.npz"))
    assert not (tmp_path / "out").exists()


def test_a_run_goes_on_with_a_note_if_told_to(tmp_path):
    np.savez(tmp_path / "d.npz", x=X * 255, y=Y)
    start = run_context(write_model(tmp_path, MODEL), data=str(tmp_path / "d.npz"), allow_low_accuracy=True)
    assert "divided by 255" in with_checked_data(start).samples.notes[-1]


def test_given_validation_is_doubted_by_its_own_name(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    np.savez(tmp_path / "v.npz", x=X, y=OTHER_ORDER[Y])
    paths = {name: str(tmp_path / f"{name[0]}.npz") for name in ("data", "validation")}
    with pytest.raises(DataError, match="v.npz: the model"):
        with_checked_data(run_context(write_model(tmp_path, MODEL), **paths))


class Heard(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_how_the_data_was_read_is_said_before_the_search(tmp_path):
    np.savez(tmp_path / "d.npz", x=images(20).astype(np.float64), y=np.zeros(20, int))
    start = run_context(
        write_model(tmp_path), data=str(tmp_path / "d.npz"), preprocess="scale=1", allow_low_accuracy=True
    )
    heard = Heard()
    with_checked_data(replace(start, progress=heard))
    assert any("used as given" in note for note in heard.notes)
