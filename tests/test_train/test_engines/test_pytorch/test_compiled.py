"""Compiled steps: they give what steps give as they are, and a training by them goes on after an interruption."""

import dataclasses

import numpy as np
import pytest

from pfir.errors import TrainingError, UsageError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.fitting import compiling
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.net import normal
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier, residual, separable
from tests.test_train.test_engines.sides import towards_noise

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")

from pfir.train.engines.pytorch import compiled  # noqa: E402
from pfir.train.engines.pytorch.engine import TorchEngine  # noqa: E402
from pfir.train.session import TrainSession  # noqa: E402

WHY_NOT = compiled.why_not(torch.device("cpu"))
compiles = pytest.mark.skipif(WHY_NOT is not None, reason=f"steps cannot be compiled here: {WHY_NOT}")
LABELS = DistillationSettings(label_weight=1.0)
ALWAYS = Settings(epochs=12, batch=64, learning_rate=0.1, jobs=1, clip=None, engine="torch", compile="always")


@pytest.fixture
def traced(monkeypatch):
    """Steps are traced as for the compiler, and run without it; gives how many were."""
    steps = []
    monkeypatch.setattr(compiled, "why_not", lambda _: None)
    monkeypatch.setattr("pfir.train.engines.pytorch.engine.why_not", lambda _: None)
    monkeypatch.setattr(torch, "compile", lambda step, **_: steps.append(step) or step)
    return steps


def learnt(settings=ALWAYS, tell=None):
    return fit(graph_of_training(), kinds_of_images(), settings, tell)


def graph_of_training():
    """The same for every test that compiles: what Inductor keeps of the first makes the others quick."""
    return attach_teacher(classifier(), None, LABELS)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def both_sides(graph, feeds, jobs=1, autocast="none"):
    """What two steps give as they are and compiled, the running statistics of each going on from the one before."""
    found, batch = [], len(next(iter(feeds.values())))
    for is_compiled in (False, True):
        shapes = {n: x.shape[1:] for n, x in feeds.items()}
        session = TrainSession(graph, shapes, batch, jobs, "torch", autocast=autocast)
        if is_compiled:
            session.compile(feeds)
        scalars = [session.step(feeds).scalars for _ in range(2)]
        session.close()
        found.append((np.array(scalars), session.gradients.flat, session.statistics.flat))
    return found


def assert_alike(graph, feeds, **how):
    (scalars, gradients, statistics), (their_scalars, theirs, moved) = both_sides(graph, feeds, **how)
    np.testing.assert_allclose(their_scalars, scalars, rtol=1e-5, atol=1e-6)
    assert np.abs(theirs - gradients).max() <= 1e-4 * np.abs(gradients).max() > 0
    np.testing.assert_allclose(moved, statistics, rtol=1e-5, atol=1e-6)


@compiles
def test_compiled_steps_have_the_loss_gradients_and_statistics_of_others():
    graph = graph_of_training()
    assert_alike(graph, {"image": normal(64, 3, 8, 8), graph.labels: np.arange(64) % 5}, jobs=2)


@pytest.mark.parametrize("net", [classifier, residual, separable])
@pytest.mark.parametrize("autocast", ["none", "bfloat16"])
def test_traced_steps_have_the_loss_gradients_and_statistics_of_others(traced, net, autocast):
    model = net()
    (taken,) = model.inputs()
    assert_alike(*towards_noise(model, {taken.name: normal(32, *taken.shape[1:])}), autocast=autocast)
    assert len(traced) == 1


@compiles
def test_an_interrupted_training_by_compiled_steps_goes_on_with_the_same_bits(tmp_path):
    whole = learnt()
    assert whole.compiled and not whole.notes
    plain = learnt(dataclasses.replace(ALWAYS, compile="never"))
    losses, theirs = ([entry["loss"] for entry in each.curve] for each in (whole, plain))
    np.testing.assert_allclose(losses, theirs, rtol=1e-3)
    assert not plain.compiled and losses[-1] < 0.9 * losses[0]
    assert same(interrupted(tmp_path, ALWAYS, ALWAYS).arrays, whole.arrays)


def interrupted(tmp_path, before, after):
    """The training broken off in its first epoch, and taken up by other settings."""
    kept = {"checkpoint": tmp_path / "state.npz", "checkpoint_every_s": 0.0}

    def interrupt(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learnt(dataclasses.replace(before, **kept), interrupt)
    return learnt(dataclasses.replace(after, **kept))


@pytest.mark.parametrize("paid", [True, False])
def test_what_paid_when_a_training_began_is_followed_when_it_goes_on(tmp_path, monkeypatch, traced, paid):
    auto = dataclasses.replace(ALWAYS, compile="auto")
    monkeypatch.setattr(compiling.Plan, "pays", lambda *_: paid)
    monkeypatch.setattr(compiling, "_step_s", lambda session, _: 1.0 - bool(session._shards[0].step))
    whole, was = learnt(auto), len(traced)
    assert whole.compiled == paid and was == paid

    def interrupt(progress):
        monkeypatch.setattr(compiling.Plan, "pays", lambda *_: not paid)
        if progress.step == 2:
            raise KeyboardInterrupt

    kept = dataclasses.replace(auto, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)
    with pytest.raises(KeyboardInterrupt):
        learnt(kept, interrupt)
    went_on = learnt(kept)
    assert went_on.compiled == paid and len(traced) == 3 * paid
    assert same(went_on.arrays, whole.arrays)


def test_steps_go_back_to_what_they_were(traced):
    graph = graph_of_training()
    feeds = {"image": normal(32, 3, 8, 8), graph.labels: np.arange(32) % 5}
    session = TrainSession(graph, {n: x.shape[1:] for n, x in feeds.items()}, 32, engine="torch")
    session.compile(feeds)
    assert session._shards[0].step is not None
    session.uncompile()
    assert session._shards[0].step is None
    session.close()


def failing(*_, **__):
    raise RuntimeError("\ng++: fatal error: no space left\nat many places")


def test_where_the_compiler_fails_training_goes_on_as_if_there_were_none(monkeypatch, traced):
    monkeypatch.setattr(torch, "compile", failing)
    monkeypatch.setattr(compiling.Plan, "pays", lambda *_: True)
    told = []
    result = learnt(dataclasses.replace(ALWAYS, compile="auto"), lambda p: told.append(p.note))
    never = learnt(dataclasses.replace(ALWAYS, compile="never"))
    assert same(result.arrays, never.arrays) and [e["loss"] for e in result.curve] == [e["loss"] for e in never.curve]
    (note,) = result.notes
    assert not result.compiled and note in told
    assert note.startswith(
        "training goes on without compiled steps: a step cannot be compiled (RuntimeError: g++: fatal"
    )


def test_where_it_fails_only_after_an_interruption_the_note_says_what_that_means(tmp_path, monkeypatch, traced):
    auto = dataclasses.replace(ALWAYS, compile="auto", checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)
    monkeypatch.setattr(compiling.Plan, "pays", lambda *_: True)
    monkeypatch.setattr(compiling, "_step_s", lambda session, _: 1.0 - bool(session._shards[0].step))

    def interrupt(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learnt(auto, interrupt)
    monkeypatch.setattr(torch, "compile", failing)
    (note,) = learnt(auto).notes
    assert "and the weights will be others than without the interruption: a step cannot be compiled" in note


def test_where_it_fails_and_is_asked_for_always_training_ends(monkeypatch, traced):
    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(UsageError, match=r"--train compile=always: .*no space left.*; compile=auto trains without"):
        learnt()


def test_compiled_steps_with_other_gradients_are_not_taken(monkeypatch, traced):
    monkeypatch.setattr(torch, "compile", lambda step, **_: lambda *given: [2 * x for x in step(*given)])
    graph = attach_teacher(classifier(), None, LABELS)
    feeds = {"image": normal(32, 3, 8, 8), graph.labels: np.arange(32) % 5}
    session = TrainSession(graph, {n: x.shape[1:] for n, x in feeds.items()}, 32, engine="torch")
    start, before = session.statistics.flat.copy(), session.step(feeds).loss
    session.set_statistics(start)
    with pytest.raises(TrainingError, match="a compiled step has other gradients: .* apart, and .* long"):
        session.compile(feeds)
    assert np.array_equal(session.statistics.flat, start) and session.step(feeds).loss == before
    session.close()


def test_without_a_compiler_it_says_which_one_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert TorchEngine().why_not_compiled() == (
        "there is no C++ compiler no-such-compiler; install it, or name another in CXX"
    )
    with pytest.raises(UsageError, match="--train compile=always: there is no C"):
        learnt()
    assert not learnt(dataclasses.replace(ALWAYS, compile="auto")).notes


def test_without_pythons_headers_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "which", lambda _: "g++")
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda _: str(tmp_path))
    assert "Python.h" in compiled.why_not(torch.device("cpu"))
    (tmp_path / "Python.h").touch()
    assert compiled.why_not(torch.device("cpu")) is None


@pytest.mark.parametrize("there", [True, False])
def test_on_a_gpu_triton_is_needed(monkeypatch, there):
    monkeypatch.setattr(compiled, "which", lambda _: "g++")
    monkeypatch.setattr(compiled, "find_spec", lambda _: there or None)
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda _: "/")
    assert ("Triton" in compiled.why_not(torch.device("cuda"))) == (not there)
