"""What judges models: each is run once, in views of samples kept back, or on unseen ones where there are some."""

import dataclasses

import numpy as np
import pytest

from pfir.compile.training import judging
from pfir.compile.training.judging import MOST_VIEWS, VIEWS, Judge, augmentation, viewed, views_of
from pfir.data import open_data
from pfir.run.evaluate import evaluate
from tests.support.jobs import images, small_net, write_data, write_model
from tests.support.net import Net
from tests.test_compile.test_selection.search_context import run_context, search_context


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    return run_context(model, data=str(write_data(tmp_path_factory.mktemp("job"), count=200)))


def test_a_model_is_run_once_and_the_original_too(run, monkeypatch):
    asked = []
    monkeypatch.setattr(judging, "evaluate", lambda m, *rest: asked.append(m) or evaluate(m, *rest))
    judge, start = Judge(run.models.teacher, run.samples), run.models.start
    assert judge.scores(start) is judge.scores(start)
    judge.is_worse(small_net(1), start)
    assert asked[0] is start and len(asked) == 2


def test_a_model_is_worse_where_it_is_farther_and_agrees_less(run):
    judge, start, other = Judge(run.models.teacher, run.samples), run.models.start, small_net(3)
    assert judge.is_worse(other, start) and not judge.is_worse(start, other)
    assert not judge.is_worse(start, start)


def test_samples_that_the_original_has_not_seen_decide_where_there_are_some(run, model, tmp_path):
    same = str(write_data(tmp_path, count=120))
    found = run_context(model, data=same, validation=same)
    assert run.samples.unseen is None and 0 < len(found.samples.unseen) <= len(found.samples.validation)
    noise = dataclasses.replace(found.samples, unseen=found.samples.unseen.subset(np.arange(1)))
    judge, good, bad = Judge(found.models.teacher, noise), found.models.start, small_net(3)
    alone = Judge(found.models.teacher, found.samples)
    assert judge.scores(bad) == alone.scores(bad)
    assert alone.is_worse(bad, good)
    one = found.samples.unseen.batch(np.arange(1))
    assert judge.is_worse(bad, good) == (_class(bad, one) != _class(good, one))


def test_each_view_of_a_sample_is_another_and_always_the_same(run):
    data = run.samples.judging
    views, again = viewed(data), viewed(data)
    first, second = (views.batch(np.arange(len(data)) + i * len(data))["in0"] for i in range(VIEWS))
    assert len(views) == VIEWS * len(data) and len(views.labels) == len(views)
    assert not np.array_equal(first, second) and not np.array_equal(first, data.batch(np.arange(len(data)))["in0"])
    np.testing.assert_array_equal(again.batch(np.arange(len(data)))["in0"], first)
    assert views.fingerprint() == again.fingerprint() != viewed(data, seed=1).fingerprint()


@pytest.mark.parametrize(("samples", "views"), [(5, MOST_VIEWS), (20, 4), (64, VIEWS), (1000, VIEWS)])
def test_few_samples_are_seen_more_often(run, samples, views):
    assert views_of(run.samples.train.subset(np.zeros(samples, np.int64))) == views


def _class(model, feeds):
    from pfir.run.session import Session

    return next(iter(Session(model).predict(feeds).values())).argmax()


def test_images_are_mirrored_only_where_the_original_does_not_mind(model, tmp_path):
    mirrored = images(64)
    mirrored[..., 8:] = mirrored[..., 7::-1]
    np.savez(tmp_path / "same.npz", x=mirrored)
    net = Net(0)
    left = np.zeros((3 * 256, 2), np.float32)
    left.reshape(3, 16, 16, 2)[..., :8, 0] = 1
    left.reshape(3, 16, 16, 2)[..., 8:, 1] = 1
    x = net.op("Flatten", net.input("N", 3, 16, 16))
    minds = net.model((net.op("MatMul", x, net.const(left)),))
    same = open_data(tmp_path / "same.npz", minds.inputs())
    assert augmentation(search_context(model).candidates.model, same) == "flip-crop"
    np.savez(tmp_path / "other.npz", x=images(64) + np.linspace(-9, 9, 16, dtype=np.float32))
    assert augmentation(minds, open_data(tmp_path / "other.npz", minds.inputs())) == "none"


def test_what_is_no_image_is_not_mirrored(tmp_path):
    net = Net(0)
    signal = net.model((net.dense(net.input("N", 8), 8, 3),))
    path = write_model(tmp_path, signal)
    np.savez(tmp_path / "x.npz", x=np.ones((5, 8), np.float32))
    assert path.exists() and augmentation(signal, open_data(tmp_path / "x.npz", signal.inputs())) == "none"
