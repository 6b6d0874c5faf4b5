"""Finalists are built as the search found them, trained briefly, and the nearest to the original goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.plan import plan
from pfir.compile.selection.comparing import Comparison, said, with_rivals
from pfir.compile.selection.search_context import calibrated
from pfir.compile.selection.searching import SearchRun, built_by
from pfir.compile.training.finalists import LEAST_STEPS, ShortTraining
from pfir.compile.training.fine_tuning import FineTuning, settings_for
from pfir.compile.training.recipes import DISTIL
from pfir.compile.training.teaching import Course, Teaching
from pfir.errors import TrainingError
from pfir.passes.pruning.prune_channels import RATIO
from pfir.report.progress import Silent
from pfir.report.record import Trial
from tests.support.jobs import request, write_data
from tests.test_compile.test_selection.search_context import channels, run_context, search_context


@pytest.fixture(scope="module")
def job(model, tmp_path_factory):
    """What a search stands on, a run of it, and what it found: two finalists, the worse one first."""
    data = str(write_data(tmp_path_factory.mktemp("job"), count=400))
    found, run = search_context(model, data=data), run_context(model, data=data)
    worse, better = ({RATIO + g: ratio for g in channels(found).groups} for ratio in (0.75, 0.25))
    costs = [found.pricing.costs(p) for p in (worse, better)]
    trials = tuple(Trial(c["latency_s"], 0.5, i == 0, c["macs"]) for i, c in enumerate(costs))
    best = replace(built_by(found, worse), parameters=worse, trials=trials, seconds=3.0, finalists=(worse, better))
    return found, run, best


def rivals(job, count=3, ends=NEVER, keeps=lambda _: True):
    found, run, best = job
    wanted = request(Path("unused"), Path("unused"))
    how = SearchRun(plan(wanted), wanted, Path("unused"), Silent(), ends)
    return with_rivals(found, best, count, how, keeps)


def comparison(job, folder, steps=LEAST_STEPS, epochs=100):
    run = job[1]
    settings = settings_for(run.models.teacher, run.samples, FineTuning(epochs, jobs=1), "none")
    activations, teacher = calibrated(run.samples), run.models.teacher
    teaching = Teaching(Course(teacher, run.samples, settings, NEVER, Silent()), activations, DISTIL)
    return Comparison(teaching, ShortTraining(4, steps=steps), run.judge, lambda place: folder / f"{place}.npz")


def test_rivals_are_the_other_finalists_that_keep_the_limits(job):
    (rival,) = rivals(job).rivals
    assert rival.parameters == job[2].finalists[1] and [t.chosen for t in rival.trials] == [False, True]
    assert not rivals(job, count=0).rivals and not rivals(job, keeps=lambda _: False).rivals
    assert not rivals(job, ends=Deadline(0.0)).rivals


def test_the_one_that_training_brings_nearest_goes_on(job, tmp_path):
    best, told = comparison(job, tmp_path).best(rivals(job))
    assert [f.chosen for f in told] == [False, True] and told[1].divergence < told[0].divergence
    assert best.parameters == job[2].finalists[1] and best.seconds == 3.0 and not best.rivals
    assert told[0].divergence < told[0].untrained and all(f.steps >= LEAST_STEPS for f in told)
    assert "candidate 2 of the search got the long one" in said(told)[0]
    once = comparison(job, tmp_path).best(rivals(job))[1]
    assert once == told and sorted(p.name for p in tmp_path.glob("*.npz")) == ["1.npz", "2.npz"]


def test_fewer_steps_than_an_epoch_take_a_part_of_the_samples(job, tmp_path):
    samples, epochs = comparison(job, tmp_path, steps=3)._samples(100, 32)
    assert (len(samples.train), epochs) == (96, 1)
    whole = job[1].samples.train
    assert comparison(job, tmp_path, steps=None)._samples(7, 32)[1] == 7
    assert np.isin(samples.train.batch(np.arange(1))["in0"], whole.batch(np.arange(len(whole)))["in0"]).all()


def test_steps_too_few_to_tell_decide_nothing(job, tmp_path):
    best, told = comparison(job, tmp_path, steps=20).best(rivals(job))
    assert told == () == said(told) and best.parameters == job[2].parameters and not best.rivals


@pytest.mark.parametrize("at", [1, 2])
def test_a_finalist_that_cannot_be_trained_leaves_the_best_of_the_search(job, tmp_path, monkeypatch, at):
    given, asked = Teaching.of, []

    def of(self, student):
        asked.append(student)
        if len(asked) == at:
            raise TrainingError("no gradient")
        return given(self, student)

    monkeypatch.setattr(Teaching, "of", of)
    best, told = comparison(job, tmp_path).best(rivals(job))
    assert best.parameters == job[2].parameters and told == () and len(asked) == at
