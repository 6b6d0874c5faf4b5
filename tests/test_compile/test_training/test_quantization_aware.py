"""Training of a quantized model: nearer to its teacher, the same nodes, and nothing kept that brought it no nearer."""

from __future__ import annotations

import pytest

from pfir.compile.precision.layers import TRAINED
from pfir.compile.precision.quantizing import ready_for_integers
from pfir.compile.selection.search_context import calibrated
from pfir.compile.training import quantization_aware, teaching
from pfir.compile.training.fine_tuning import FineTuning
from pfir.compile.training.quantization_aware import joined_curves, train_quantized
from pfir.ir.linear import plain_layer
from pfir.ir.weights import numbers
from pfir.passes.base import Context
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.pipeline import run
from pfir.passes.quantization.qdq.fake_quantize import fake_quantized
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.report.progress import Silent
from pfir.report.record import Epoch
from pfir.run.evaluate import evaluate
from tests.support.jobs import write_data
from tests.test_compile.test_selection.search_context import run_context

BITS = 3
KILLED_AT = 18
"""A step in the midst of an epoch."""


@pytest.fixture(scope="module")
def job(model, tmp_path_factory):
    """A run with data, and its start with weights of few bits."""
    found = run_context(model, data=str(write_data(tmp_path_factory.mktemp("job"), count=400)))
    context = Context(calibrated(found.samples))
    return found, run((QuantizeUniform(weight_bits=BITS),), ready_for_integers(found.models.start), context)[0]


def _trained(job, bits=BITS, epochs=6, checkpoint=None):
    found, model = job
    how = FineTuning(epochs, None, jobs=1, checkpoint=checkpoint)
    return train_quantized(model, bits, found.models.teacher, found.samples, how, Silent())


def test_training_brings_a_quantized_model_nearer_to_its_teacher_and_changes_no_node(job):
    found, model = job
    trained = _trained(job)
    before, after = (evaluate(m, found.samples.judging, found.models.teacher) for m in (model, trained.model))
    assert after.divergence < before.divergence and trained.settings["epochs"] == 6 == len(trained.curve)
    assert [(n.name, n.op) for n in trained.model.nodes()] == [(n.name, n.op) for n in model.nodes()]
    assert trained.model.provenance == (*model.provenance, TRAINED)
    assert trained.notes[-1].startswith("training with integers in place: fidelity ") and trained.notes[-1].endswith(
        "6 epochs"
    )


def test_a_killed_training_goes_on_from_its_checkpoint(job, tmp_path, monkeypatch):
    whole = _trained(job, checkpoint=tmp_path / "a.npz").model.to_bytes()
    steps: list[int] = []
    monkeypatch.setattr(teaching, "tell", lambda progress, p, **_: _killed(p.step))
    with pytest.raises(KeyboardInterrupt):
        _trained(job, checkpoint=tmp_path / "b.npz")
    monkeypatch.setattr(teaching, "tell", lambda progress, p, **_: steps.append(p.step))
    assert _trained(job, checkpoint=tmp_path / "b.npz").model.to_bytes() == whole
    assert steps[0] > KILLED_AT // 2


def test_training_that_brings_it_no_nearer_is_dropped(job, monkeypatch):
    monkeypatch.setattr(quantization_aware, "RATE_OF_FEWER", 1e-9)
    found = _trained(job, epochs=1)
    assert found.model is job[1] and "no nearer" in found.notes[-1] and not found.curve


def test_a_model_that_cannot_be_trained_stays_as_it_is(job):
    found = _trained(job, bits=9)
    assert found.model is job[1] and found.notes == (
        "not trained with integers in place: weight_bits is 9; it must be 2 to 8",
    )


def test_zeros_of_a_sparse_model_stay_and_those_of_few_bits_alone_may_go(job):
    found, dense = job
    start, _ = run((SparsifyWeights(0.5),), ready_for_integers(found.models.start), Context())
    sparse, _ = run((QuantizeUniform(weight_bits=BITS),), start, Context(calibrated(found.samples)))
    fakes = [fake_quantized(model, BITS) for model in (sparse, dense)]
    graphs = [fake.training(attach_teacher(fake.model, found.models.teacher)) for fake in fakes]
    assert len(graphs[0].masked) == 4 and not graphs[1].masked
    trained = _trained((found, sparse)).model
    assert trained.provenance[-1] == TRAINED
    for node in trained.nodes():
        if (layer := plain_layer(node)) is not None:
            before = numbers(next(n for n in sparse.nodes() if n.name == node.name).inputs[1])
            assert (before == 0).any() and not numbers(layer.weight)[before == 0].any()


def test_two_curves_are_one_whose_epochs_go_on():
    first, second = (Epoch(1, 0.5), Epoch(2, 0.4)), (Epoch(1, 0.3),)
    assert joined_curves(first, second) == (*first, Epoch(3, 0.3))
    assert joined_curves((), second) == second


def _killed(step):
    if step == KILLED_AT:
        raise KeyboardInterrupt
