"""Samples for passes in front of a search: those that the run calibrates on, opened once and only where asked for."""

from pathlib import Path

import numpy as np
import pytest

from pfir.compile.calibration import early_samples
from pfir.compile.calibration.early_samples import EarlySamples
from pfir.compile.calibration.samples import open_samples
from pfir.compile.prepare import fixed
from pfir.passes.distillation.attach_teacher import attach_teacher
from tests.support.jobs import request, small_net, write_data, write_model


@pytest.mark.parametrize("given", [True, False])
def test_they_are_those_that_the_run_calibrates_on(given, tmp_path, monkeypatch):
    data = str(write_data(tmp_path)) if given else None
    asked, model = request(write_model(tmp_path), tmp_path / "out", data=data), small_net()
    opened = []
    monkeypatch.setattr(early_samples, "open_samples", lambda *a: opened.append(a) or open_samples(*a))
    early = EarlySamples(asked, model, model)
    assert not opened
    batches = [next(iter(early.activations(model, ["in0"])))["in0"] for _ in range(2)]
    wanted = open_samples(asked, fixed(model, asked), model).calibration.batch(np.arange(len(batches[0])))["in0"]
    assert len(opened) == 1 and all(np.array_equal(batch, wanted) for batch in batches)


def test_gradients_are_of_the_weights_that_are_named(tmp_path):
    model = small_net()
    name = next(n for n, held in model.initializers().items() if held.values.ndim == 4)
    asked = request(Path("x"), tmp_path / "out", data=str(write_data(tmp_path)))
    found = EarlySamples(asked, model, model).gradients(model, [name])
    assert list(found) == [name] and found[name].any()


def test_a_graph_is_trained_on_them(tmp_path):
    model = small_net()
    asked = request(Path("x"), tmp_path / "out", data=str(write_data(tmp_path)))
    graph = attach_teacher(model, small_net(seed=1))
    learnt = EarlySamples(asked, model, model).train(graph)
    assert any(not np.array_equal(learnt[n], model.initializers()[n].values) for n in graph.trainable)
