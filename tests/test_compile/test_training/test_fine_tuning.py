import dataclasses

import numpy as np
import pytest

from pfir.compile.training import recipes, teaching
from pfir.compile.training.fine_tuning import FineTuning, careful, fine_tune, settings_for
from pfir.compile.training.judging import Judge
from pfir.compile.training.options import parse_train
from pfir.compile.training.teaching import without_slopes
from pfir.errors import TrainingError
from pfir.passes.base import Context
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.pipeline import run
from pfir.passes.pruning.prune_channels import RATIO
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.report.progress import Silent
from pfir.run.evaluate import evaluate
from pfir.train.distributed.processes import Processes
from pfir.train.settings import Settings
from tests.support.jobs import write_data
from tests.support.small_nets import after_conv
from tests.test_compile.test_selection.search_context import channels, run_context, search_context


@pytest.fixture(scope="module")
def job(model, tmp_path_factory):
    """The ground, the samples and a student with half its channels."""
    folder = tmp_path_factory.mktemp("job")
    data = str(write_data(folder, count=400))
    found = search_context(model, data=data)
    samples = run_context(model, data=data).samples
    removed = found.candidates.choices({RATIO + g: 0.75 for g in channels(found).groups})
    return found, samples, found.candidates.build(removed)


def _fine_tuned(job, epochs=6, student=None, budget=None):
    found, samples, pruned = job
    teacher = found.candidates.model
    how = FineTuning(epochs, budget, jobs=1)
    return fine_tune(student or pruned, teacher, samples, found.activations, how, Silent())


def test_training_brings_the_student_nearer_to_its_teacher(job):
    found, samples, student = job
    tuned = _fine_tuned(job)
    before, after = (evaluate(m, samples.scoring, found.candidates.model) for m in (student, tuned.model))
    assert tuned.settings["epochs"] == 6 == len(tuned.curve)
    assert after.divergence < before.divergence
    assert tuned.curve[-1].loss < tuned.curve[0].loss


def test_two_processes_train_the_student_as_one_does(job, tmp_path):
    pytest.importorskip("torch", reason="processes are joined by torch.distributed")
    found, samples, pruned = job
    how = FineTuning(2, None, jobs=2)
    several = dataclasses.replace(how, processes=Processes(2, folder=tmp_path / "training"))
    one, two = (
        fine_tune(pruned, found.candidates.model, samples, found.activations, h, Silent()) for h in (how, several)
    )
    assert [e.loss for e in two.curve] == pytest.approx([e.loss for e in one.curve], rel=1e-4)
    ours, theirs = (m.model.initializers() for m in (two, one))
    assert all(np.allclose(ours[n].values, t.values, atol=1e-3) for n, t in theirs.items())


def test_without_data_training_on_ever_new_inputs_brings_it_nearer_on_unseen_ones(model):
    found, samples = search_context(model), run_context(model).samples
    samples = dataclasses.replace(samples, train=samples.train.subset(np.arange(192)))
    student = found.candidates.build(found.candidates.choices({RATIO + g: 0.75 for g in channels(found).groups}))
    tuned = _fine_tuned((found, samples, student), epochs=12)
    before, after = (evaluate(m, samples.validation, found.candidates.model) for m in (student, tuned.model))
    assert tuned.settings["engine"] in ("ort", "torch")
    assert tuned.settings["renew"] and after.divergence < before.divergence


def test_slopes_stay_and_all_else_is_trained():
    model = after_conv("PRelu", constants={"slope": np.full((4, 1, 1), 0.1, np.float32)})
    graph = attach_teacher(model, model)
    assert set(graph.trainable) - set(without_slopes(graph).trainable) == {"slope"}
    assert without_slopes(graph).trainable == ("weight", "bias")


def test_training_changes_weights_only(job):
    before, tuned = job[2], _fine_tuned(job, epochs=2).model
    assert [(n.name, n.op) for n in tuned.nodes()] == [(n.name, n.op) for n in before.nodes()]
    assert {n: t.values.shape for n, t in tuned.initializers().items()} == {
        n: t.values.shape for n, t in before.initializers().items()
    }
    assert tuned.provenance == (*before.provenance, "fine-tune")


def test_training_leaves_the_student_and_the_teacher_alone(job):
    student, teacher = job[2].to_bytes(), job[0].candidates.model.to_bytes()
    _fine_tuned(job, epochs=1)
    assert (job[2].to_bytes(), job[0].candidates.model.to_bytes()) == (student, teacher)


def test_the_same_seed_trains_the_same_weights(job):
    assert _fine_tuned(job, epochs=2).model.to_bytes() == _fine_tuned(job, epochs=2).model.to_bytes()


def test_training_that_makes_it_worse_is_dropped_with_a_note(job, monkeypatch):
    monkeypatch.setattr(Judge, "is_worse", lambda *_: True)
    tuned = _fine_tuned(job, epochs=1)
    assert tuned.model is job[2] and "was dropped" in tuned.notes[-1] and tuned.settings is None


def test_a_model_that_cannot_be_trained_stays_with_a_note(job, monkeypatch):
    def refuse(*_):
        raise TrainingError("operator X has no gradient")

    monkeypatch.setattr(teaching, "lesson", refuse)
    tuned = _fine_tuned(job)
    assert tuned.model is job[2] and tuned.notes == ("not fine-tuned: operator X has no gradient",)


@pytest.mark.parametrize(("divergence", "rate"), [(0.5, 0.05), (0.05, 0.01)])
def test_a_student_that_is_near_learns_at_a_smaller_rate(divergence, rate):
    assert careful(Settings(epochs=1, learning_rate=0.05), divergence).learning_rate == pytest.approx(rate)
    assert careful(Settings(epochs=1, learning_rate=0.003), divergence).learning_rate == 0.003


def test_the_curve_tells_of_samples_held_back(job):
    told = []

    class Listening(Silent):
        def step(self, share, text):
            told.append(text)

    found, samples, pruned = job
    how = FineTuning(3, jobs=1)
    tuned = fine_tune(pruned, found.candidates.model, samples, found.activations, how, Listening())
    first = tuned.curve[0]
    assert first.held_back_loss > 0 and 0 <= first.held_back_accuracy <= 1 and first.held_back_fidelity is None
    assert "held back" not in told[0] and "held back: loss" in told[-1]


def test_values_of_the_data_are_learnt_beside_the_teachers(model):
    samples = run_context(model).samples
    samples.train.targets = np.zeros((len(samples.train), 4), np.float32)
    assert recipes.distillation_for(samples).target_weight == recipes.LABEL_WEIGHT
    assert recipes.distillation_for(samples, mixed=True).mixed


def test_zeros_of_a_sparse_model_stay_where_it_is_trained(job):
    found, samples, _ = job
    student, _ = run((SparsifyWeights(0.5),), found.candidates.model, Context())
    tuned = _fine_tuned(job, student=student).model
    before, after = student.initializers(), tuned.initializers()
    sparse = [name for name, held in before.items() if np.mean(held.values == 0) == 0.5]
    assert len(sparse) == 3 and tuned.provenance[-1] == "fine-tune"
    for name in sparse:
        assert np.array_equal(after[name].values == 0, before[name].values == 0)
        assert not np.array_equal(after[name].values, before[name].values)
    quality = [evaluate(m, samples.scoring, found.candidates.model).divergence for m in (student, tuned)]
    assert quality[1] < quality[0]


def _settings(job, text):
    return settings_for(job[0].candidates.model, job[1], FineTuning(3, options=parse_train(text)))


def test_what_a_user_says_stands_in_place_of_what_is_chosen(job):
    chosen = settings_for(job[0].candidates.model, job[1], FineTuning(3))
    said = _settings(job, "batch=16,schedule=step,ema=0.9")
    assert said == dataclasses.replace(chosen, batch=16, schedule="step", ema=0.9)


def test_adamw_has_smaller_rates_than_sgd_unless_one_is_given(job):
    chosen = settings_for(job[0].candidates.model, job[1], FineTuning(3)).learning_rate
    adamw = _settings(job, "optimizer=adamw")
    assert adamw.learning_rate == pytest.approx(0.02 * chosen)
    assert careful(dataclasses.replace(adamw, learning_rate=1.0), 0.0).learning_rate == pytest.approx(0.02 * 0.01)
    assert _settings(job, "optimizer=adamw,lr=0.3").learning_rate == 0.3


@pytest.mark.parametrize("text", ["lr=0.007,accumulate=2", "optimizer=adamw,ema=0.9,clip=none"])
def test_a_training_as_a_user_says_helps_and_tells_what_was_said_and_used(job, text):
    found, samples, pruned = job
    how = FineTuning(6, jobs=1, options=parse_train(text))
    tuned = fine_tune(pruned, found.candidates.model, samples, found.activations, how, Silent())
    before, after = (evaluate(m, samples.scoring, found.candidates.model) for m in (pruned, tuned.model))
    assert after.divergence < before.divergence
    assert tuned.settings["given"] == parse_train(text).text()
    assert tuned.settings["averaged"] == ("ema" in text)
    if "lr" in text:
        assert tuned.settings["learning_rate"] == 0.007 and tuned.settings["accumulate"] == 2
