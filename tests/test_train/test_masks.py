"""Zeros that training keeps: exactly, in the momentum too, and as many more as a growth says."""

import dataclasses

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.ir.training import Growth, TrainingGraph, sparse_initializers
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.engines.choice import ort_trains
from pfir.train.fitting.judges import Judges
from pfir.train.flat import FlatBuffer
from pfir.train.masks import Masks
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.net import random
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier

FAST = Settings(epochs=4, batch=32, learning_rate=0.1, jobs=1, clip=None)
LABELS = DistillationSettings(label_weight=1.0)


def half_of(weight: np.ndarray) -> np.ndarray:
    return np.where(np.abs(weight) < np.median(np.abs(weight)), 0, weight).astype(np.float32)


def half_zero(seed: int = 0):
    """A net that classifies images, half of each weight zero."""
    net = classifier(seed)
    net.set_arrays({name: half_of(net.initializers()[name].values) for name in ("w", "fw")})
    return net


def growing(net=None, **fields) -> TrainingGraph:
    return dataclasses.replace(attach_teacher(net or classifier(), None, LABELS), growth=Growth({"w": 0.75}, **fields))


def buffer(**arrays) -> FlatBuffer:
    return FlatBuffer({name: np.asarray(x, np.float32) for name, x in arrays.items()})


@pytest.mark.parametrize("engine", ["ort", "torch"])
@pytest.mark.parametrize("teacher", [None, classifier(seed=1)])
def test_zeros_of_a_sparse_weight_stay_while_the_rest_learns(teacher, engine):
    if engine == "torch":
        pytest.importorskip("torch")
    elif not ort_trains():
        pytest.skip("ONNX Runtime cannot train here")
    net = half_zero()
    arrays = fit(
        attach_teacher(net, teacher, LABELS), kinds_of_images(), dataclasses.replace(FAST, engine=engine)
    ).arrays
    for name in ("w", "fw"):
        before = net.initializers()[name].values
        assert np.array_equal(arrays[name] == 0, before == 0) and not np.array_equal(arrays[name], before)


def test_a_dense_weight_has_no_mask_and_neither_has_a_vector():
    net = half_zero()
    net.set_arrays({"fb": np.zeros(5, np.float32)})
    assert sparse_initializers(net, ("w", "fw", "fb", "scale")) == ("w", "fw")
    assert attach_teacher(net, None, LABELS).masked == ("w", "fw")
    assert attach_teacher(classifier(), None, LABELS).masked == ()


def test_momentum_of_what_is_zero_is_zero():
    parameters = buffer(a=[[1, 0], [0, 2]], b=[3, 0])
    velocity = np.ones_like(parameters.flat)
    masks = Masks(TrainingGraph(half_zero(), "loss", ("a", "b"), masked=("a",)), parameters)
    parameters.flat[:] += 5
    masks.apply([velocity], 0.5)
    assert np.array_equal(parameters.views["a"], [[6, 0], [0, 7]]) and np.array_equal(parameters.views["b"], [8, 5])
    assert velocity[:4].tolist() == [1, 0, 0, 1] and velocity[16:18].tolist() == [1, 1]


def test_zeros_spread_along_the_cubic_curve():
    parameters = buffer(w=random(10, 10))
    graph = TrainingGraph(half_zero(), "loss", ("w",), growth=Growth({"w": 0.8}, 0.2, 0.7, updates=5))
    masks, seen = Masks(graph, parameters), {}
    for progress in (0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0):
        masks.apply([np.zeros_like(parameters.flat)], progress)
        seen[progress] = float(np.mean(parameters.views["w"] == 0))
    wanted = [0.0, *(0.8 * (1 - (1 - step / 5) ** 3) for step in (1, 2, 3, 4, 5)), 0.8]
    assert np.allclose(list(seen.values()), wanted, atol=0.011) and seen[1.0] == 0.8
    assert not masks.is_complete(0.6) and masks.is_complete(0.7)


def test_the_least_go_or_those_that_a_rule_says():
    weight = np.arange(1, 9).reshape(2, 4)
    for keep, gone in ((None, {1, 2, 3, 4}), (lambda name, values, share: values % 2 == 0, {1, 3, 5, 7})):
        parameters = buffer(w=weight)
        graph = TrainingGraph(half_zero(), "loss", ("w",), growth=Growth({"w": 0.5}, updates=1, keep=keep))
        Masks(graph, parameters).apply([np.zeros_like(parameters.flat)], 1.0)
        assert set(weight[parameters.views["w"] == 0]) == gone


def test_a_training_ends_as_sparse_as_was_asked():
    result = fit(growing(end=1.0), kinds_of_images(), FAST)
    assert np.mean(result.arrays["w"] == 0) == pytest.approx(0.75, abs=1 / result.arrays["w"].size)
    assert not (result.arrays["fw"] == 0).any()


def test_the_best_epoch_is_one_that_has_all_zeros():
    scores = iter((4.0, 3.0, 1.0, 2.0))
    result = fit(growing(end=0.75), kinds_of_images(), FAST, judges=Judges(lambda _: next(scores)))
    assert result.best_epoch == 4 and np.mean(result.arrays["w"] == 0) > 0.7


@pytest.mark.parametrize("stop", [4, 8])
def test_a_killed_training_ends_in_the_same_bits(stop, tmp_path):
    class Killed(Exception):
        pass

    def kill(progress):
        if progress.step == stop:
            raise Killed

    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)
    whole = fit(growing(end=1.0), kinds_of_images(), FAST).arrays
    with pytest.raises(Killed):
        fit(growing(end=1.0), kinds_of_images(), settings, kill)
    again = fit(growing(end=1.0), kinds_of_images(), settings).arrays
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sparsity": {"w": 1.0}}, "the sparsity of w is 1.0; it must be in"),
        ({"sparsity": {}, "begin": 0.5, "end": 0.5}, "give 0 <= begin < end <= 1"),
        ({"sparsity": {}, "updates": 0}, "updates is 0; it must be at least 1"),
    ],
)
def test_a_growth_out_of_range_is_refused(fields, said):
    with pytest.raises(UsageError, match=said):
        Growth(**fields)
