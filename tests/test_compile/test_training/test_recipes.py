"""Recipes for few samples: each brings a student nearer to its teacher and leaves its nodes as they were."""

import dataclasses

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.compile.training.fine_tuning import FineTuning, fine_tune
from pfir.compile.training.recipes import AUTO, DISTIL, MIR, RECIPES, VERY_FEW_SAMPLES, chosen, fitted_features, lesson
from pfir.compile.training.refined import STEP, Expanded, _blended, refined
from pfir.errors import TrainingError, UsageError
from pfir.passes.pruning.prune_channels import RATIO
from pfir.report.progress import Silent
from pfir.run.evaluate import evaluate
from pfir.run.session import Session
from tests.support.jobs import images, small_net, write_data
from tests.support.small_nets import after_conv
from tests.test_compile.test_selection.search_context import channels, run_context, search_context


@pytest.fixture(scope="module")
def job(model, tmp_path_factory):
    """What a search stands on, two hundred samples, and a student with half its channels."""
    data = str(write_data(tmp_path_factory.mktemp("job"), count=200))
    found, samples = search_context(model, data=data), run_context(model, data=data).samples
    removed = found.candidates.choices({RATIO + g: 0.5 for g in channels(found).groups})
    return found, samples, found.candidates.build(removed)


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_brings_the_student_nearer_to_its_teacher(job, recipe):
    found, samples, student = job
    teacher = found.candidates.model
    how = FineTuning(8, None, jobs=1, recipe=recipe)
    tuned = fine_tune(student, teacher, samples, found.activations, how, Silent())
    before, after = (evaluate(m, samples.validation, teacher).divergence for m in (student, tuned.model))
    assert tuned.settings is not None and after < before
    assert [n.name for n in tuned.model.nodes()] == [n.name for n in student.nodes()]


def test_features_are_fitted_by_least_squares(job):
    found, _, student = job
    teacher = found.candidates.model
    same = fitted_features(teacher, teacher, found.activations)
    used = np.abs(same).max(0) > 1e-3
    np.testing.assert_allclose(same[used][:, used], np.eye(used.sum()), atol=0.05)
    assert fitted_features(student, teacher, found.activations).shape == (32, 16)


def test_very_few_given_samples_are_learnt_from_by_features_and_others_by_answers(job):
    found, samples, student = job
    teacher, train = found.candidates.model, samples.train
    assert len(train) >= VERY_FEW_SAMPLES and chosen(student, teacher, samples) == DISTIL
    few = dataclasses.replace(samples, train=train.subset(np.arange(VERY_FEW_SAMPLES - 1)))
    assert chosen(student, teacher, few) == MIR
    assert chosen(after_conv("Relu"), after_conv("Relu"), few) == DISTIL
    names = lesson(AUTO, student, teacher, few, found.activations).graph.metrics
    assert names == lesson(MIR, student, teacher, few, found.activations).graph.metrics


def test_generated_samples_are_learnt_from_by_answers(model):
    run = run_context(model)
    few = dataclasses.replace(run.samples, train=run.samples.train.subset(np.arange(40)))
    assert chosen(run.models.start, run.models.teacher, few) == DISTIL


def test_an_unknown_recipe_is_refused(job):
    found, samples, student = job
    with pytest.raises(UsageError, match="recipe is magic; it must be one of distil"):
        lesson("magic", student, found.candidates.model, samples, found.activations)


def test_a_model_without_features_cannot_mimic(job):
    found, samples, _ = job
    with pytest.raises(TrainingError, match="no features"):
        lesson(MIR, after_conv("Relu"), after_conv("Relu"), samples, found.activations)


def test_blends_are_other_ones_each_turn_and_lie_nearer_to_their_own_sample(job):
    data = job[1].train
    expanded, indices = Expanded(data, 3), np.arange(8)
    (name,) = data.inputs
    given, first, second = (d.batch(indices)[name] for d in (data, expanded.anew(1), expanded.anew(2)))
    assert np.array_equal(expanded.batch(indices)[name], given) and expanded.labels is None
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(expanded.anew(1).batch(indices)[name], first)
    assert expanded.anew(1).fingerprint() != expanded.fingerprint()
    half = expanded.anew(1).batch(indices[4:])[name]
    np.testing.assert_array_equal(half, first[4:])


def test_what_is_no_number_is_not_blended():
    ids = np.arange(4)
    assert _blended(ids, ids[::-1], np.full(4, 0.5)) is ids


def test_answers_are_refined_by_a_step_towards_the_student():
    teacher, student, feeds = small_net(0), small_net(1), {"in0": images(4)}
    given, other = (next(iter(Session(m).predict(feeds).values())) for m in (teacher, student))
    got = next(iter(Session(refined(teacher, student)).predict(feeds).values()))
    softmax = [np.exp(x - x.max(1, keepdims=True)) for x in (given, other)]
    one, two = (x / x.sum(1, keepdims=True) for x in softmax)
    np.testing.assert_allclose(got, given - STEP * (one - two), rtol=1e-4, atol=1e-4)


def test_refined_probabilities_are_those_of_refined_scores():
    """Of models that end in Softmax, under the name that they had."""
    feeds = {"in0": images(4)}
    (scores,) = Session(refined(small_net(0), small_net(1))).predict(feeds).values()
    found = Session(refined(with_softmax(small_net(0)), with_softmax(small_net(1)))).predict(feeds)
    assert list(found) == ["probabilities"]
    exponents = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(found["probabilities"], exponents / exponents.sum(1, keepdims=True), atol=1e-5)


def with_softmax(net):
    output = net.graph.outputs[0]
    result = gs.Variable("probabilities", np.float32, list(output.shape))
    net.graph.nodes.append(gs.Node("Softmax", "softmax", {"axis": 1}, [output], [result]))
    net.graph.outputs = [result]
    net.source = None
    return net


def test_answers_of_no_classifier_cannot_be_refined():
    with pytest.raises(TrainingError, match="only be refined of classifiers"):
        refined(after_conv("Relu"), after_conv("Relu"))


def test_a_recipe_goes_on_from_its_checkpoints(job, tmp_path):
    found, samples, student = job
    how = FineTuning(2, None, jobs=1, recipe="curl", checkpoint=tmp_path / "state.npz")
    once, again = (
        fine_tune(student, found.candidates.model, samples, found.activations, how, Silent()).model.to_bytes()
        for _ in range(2)
    )
    assert once == again and (tmp_path / "first.state.npz").exists()
    fresh = dataclasses.replace(how, checkpoint=None)
    trained = fine_tune(student, found.candidates.model, samples, found.activations, fresh, Silent())
    assert trained.model.to_bytes() == once
