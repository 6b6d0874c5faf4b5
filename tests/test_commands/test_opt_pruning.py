"""`pfir opt` prunes, from the command line: by every criterion, to what the text asks for, the interface as it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pfir import cli
from pfir.compile.methods.asked import chosen_passes
from pfir.errors import DataError, UsageError
from pfir.frontends import load
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.shapes import fix_sizes
from pfir.passes.pruning.criteria import CRITERIA
from pfir.run.session import Session
from tests.support.jobs import images
from tests.support.models import shared_model


def _opt(*words) -> int:
    with pytest.raises(SystemExit) as end:
        cli.app(["opt", *map(str, words)], prog_name="pfir")
    return end.value.code


def _pruned(model, data, output, text, *options):
    assert _opt(model, "--passes", text, "--data", data, "-o", output, *options) == 0
    onnx.checker.check_model(str(output), full_check=True)
    return load(output)


def _macs(model) -> float:
    return model_cost(fix_sizes(model)).macs


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_prunes_to_the_share_of_macs_asked_for(model, data, tmp_path, criterion):
    result = _pruned(model, data, tmp_path / "out.onnx", f"prune-channels{{macs=0.5 criterion={criterion}}}")
    assert 0.3 < _macs(result) / _macs(load(model)) <= 0.5
    assert result.inputs() == load(model).inputs() and result.outputs() == load(model).outputs()


@pytest.mark.parametrize("criterion", ["taylor", "group-taylor"])
def test_gradients_need_no_labels(model, tmp_path, criterion):
    np.savez(tmp_path / "bare.npz", x=images(40))
    text = f"prune-channels{{ratio=0.5 criterion={criterion}}}"
    result = _pruned(model, tmp_path / "bare.npz", tmp_path / "out.onnx", text)
    assert result.provenance == (text,)


def test_passes_follow_each_other_and_are_written_into_the_file(model, data, tmp_path):
    passes = ("simplify", "fold-batch-norm", "remove-dead-channels", "prune-channels{ratio=0.25 reconstruct=true}")
    result = _pruned(model, data, tmp_path / "out.onnx", ",".join(passes))
    assert result.provenance[-1] == passes[-1] and "fold-batch-norm" in result.provenance


def test_the_same_seed_gives_the_same_bytes(model, data, tmp_path):
    text = "prune-channels{macs=0.5 criterion=taylor reconstruct=true}"
    one, two = (tmp_path / name for name in ("one.onnx", "two.onnx"))
    _pruned(model, data, one, text, "--seed", "3")
    _pruned(model, data, two, text, "--seed", "3")
    assert one.read_bytes() == two.read_bytes()


def test_labels_beyond_the_classes_are_refused(model, tmp_path):
    np.savez(tmp_path / "wrong.npz", x=images(8), y=np.arange(8))
    with pytest.raises(DataError, match="label 5 at index 5"):
        _opt(model, "--passes", "simplify", "--data", tmp_path / "wrong.npz", "-o", tmp_path / "out.onnx")


@pytest.mark.parametrize("name", ["mltk_image_classification_fp32", "mltk_keyword_spotting_fp32"])
def test_a_real_model_prunes_and_runs(name, tmp_path):
    path = shared_model(f"{name}.onnx")
    original = load(path)
    (spec,) = original.inputs()
    x = np.random.default_rng(0).uniform(-1, 1, (32, *spec.shape[1:])).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    text = "simplify,fold-batch-norm,prune-channels{macs=0.7 criterion=taylor reconstruct=true}"
    result = _pruned(path, tmp_path / "data.npz", tmp_path / "out.onnx", text)
    assert _macs(result) <= 0.7 * _macs(original)
    answers = [Session(m).predict({spec.name: x[:1]}) for m in (original, result)]
    for ours, theirs in zip(*(a.values() for a in answers), strict=True):
        assert ours.shape == theirs.shape and np.isfinite(ours).all()


@pytest.mark.parametrize("schedule", ["steps=3", "group_wise=true", "steps=2 group_wise=true"])
def test_schedules_keep_to_the_share_of_macs(model, data, tmp_path, schedule):
    text = f"prune-channels{{macs=0.5 criterion=reconstruction reconstruct=true {schedule}}}"
    result = _pruned(model, data, tmp_path / "out.onnx", text)
    assert 0.3 < _macs(result) / _macs(load(model)) <= 0.5 and result.provenance == (text,)


@pytest.mark.parametrize("schedule", ["steps=3", "group_wise=true"])
def test_compile_which_removes_at_once_refuses_schedules(schedule):
    with pytest.raises(UsageError, match="steps and group_wise are for pfir opt"):
        chosen_passes(f"prune-channels{{ratio=0.5 {schedule}}}", 4)


def test_discrimination_goes_stage_by_stage_and_needs_no_labels(model, tmp_path):
    np.savez(tmp_path / "bare.npz", x=images(40))
    text = "prune-channels{macs=0.5 criterion=dcp reconstruct=true group_wise=true}"
    result = _pruned(model, tmp_path / "bare.npz", tmp_path / "out.onnx", text)
    assert result.provenance == (text,) and 0.3 < _macs(result) / _macs(load(model)) <= 0.5


def test_compile_refuses_to_prune_within_heads():
    with pytest.raises(UsageError, match="within_heads is for pfir opt; compile removes whole heads"):
        chosen_passes("prune-channels{ratio=0.5 within_heads=true}", 4)
