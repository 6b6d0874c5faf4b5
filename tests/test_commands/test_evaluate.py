import numpy as np
import pytest

from pfir.commands.evaluate import evaluate_file, summary
from pfir.errors import DataError
from tests.support.jobs import images, small_net, write_model
from tests.support.net import Net


def test_a_model_is_right_about_its_own_answers(model, data):
    found = evaluate_file(model, data, None, model, 1)
    assert (found["accuracy"], found["fidelity"], found["samples"]) == (1.0, 1.0, 96)
    assert "96 samples, accuracy 100.00 %" in summary(found) and "fidelity 1.0000" in summary(found)


def test_another_model_agrees_less(model, data, tmp_path):
    found = evaluate_file(write_model(tmp_path, small_net(seed=7)), data, None, model, 1)
    assert found["fidelity"] == found["accuracy"] < 1


def test_without_labels_it_says_what_would_help(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=images(5))
    found = evaluate_file(model, str(tmp_path / "x.npz"), None, None, 1)
    assert found["accuracy"] is None and "--reference" in summary(found)


def test_labels_outside_the_classes_are_refused_with_the_file(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=images(7), y=np.arange(7))
    with pytest.raises(DataError, match="x.npz: label 5 at index 5"):
        evaluate_file(model, str(tmp_path / "x.npz"), None, None, 1)


def test_classes_may_be_unknown_before_the_model_runs(tmp_path):
    net = Net(0)
    x = net.op("Reshape", net.dense(net.input("N", 4), 4, 3), net.ints(-1, 3))
    path = write_model(tmp_path, net.model((x,)))
    np.savez(tmp_path / "x.npz", x=np.ones((4, 4), np.float32), y=np.zeros(4, int))
    assert evaluate_file(path, str(tmp_path / "x.npz"), None, None, 1)["accuracy"] in (0.0, 1.0)
