import dataclasses

import numpy as np
import pytest

from pfir.compile.training import fine_tuning as finetune
from pfir.compile.training.fine_tuning import FineTuning, augmentation, careful, fine_tune, without_slopes
from pfir.data import open_data
from pfir.errors import TrainingError
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.pruning.prune_channels import RATIO
from pfir.report.progress import Silent
from pfir.run.evaluate import evaluate
from pfir.train.distributed.processes import Processes
from pfir.train.settings import Settings
from tests.support.jobs import images, write_data, write_model
from tests.support.net import Net
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
    several = dataclasses.replace(how, processes=Processes(2), folder=tmp_path / "training")
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
    monkeypatch.setattr(finetune, "_worse", lambda *_: True)
    tuned = _fine_tuned(job, epochs=1)
    assert tuned.model is job[2] and "was dropped" in tuned.notes[-1] and tuned.settings is None


def test_a_model_that_cannot_be_trained_stays_with_a_note(job, monkeypatch):
    def refuse(*_):
        raise TrainingError("operator X has no gradient")

    monkeypatch.setattr(finetune, "attach_teacher", refuse)
    tuned = _fine_tuned(job)
    assert tuned.model is job[2] and tuned.notes == ("not fine-tuned: operator X has no gradient",)


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


@pytest.mark.parametrize(("divergence", "rate"), [(0.5, 0.05), (0.05, 0.01)])
def test_a_student_that_is_near_learns_at_a_smaller_rate(divergence, rate):
    assert careful(Settings(epochs=1, learning_rate=0.05), divergence).learning_rate == rate
    assert careful(Settings(epochs=1, learning_rate=0.003), divergence).learning_rate == 0.003
