"""The engine that is asked for or there; what is missing is named with its remedy."""

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pfir.errors import TrainingError, UsageError
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.train.canonical.batch import with_batch
from pfir.train.engines import choice
from pfir.train.engines.choice import check_compile, check_engine, engine_named, ort_trains, why_not_compiled
from tests.support.small_nets import after_conv


@pytest.fixture
def here(monkeypatch):
    """Says which libraries are there."""

    def say(ort, torch, gpu=False):
        monkeypatch.setattr(choice, "ort_trains", lambda: ort)
        monkeypatch.setattr(choice, "_has_torch", lambda: torch)
        monkeypatch.setattr(choice, "_gpu", lambda: gpu)

    return say


def test_onnx_runtime_trains_where_it_can(here):
    here(ort=True, torch=True)
    assert engine_named().name == engine_named("ort").name == "ort"


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="--engine jax is not known; it is one of auto, ort, torch"):
        check_engine("jax")


def test_without_pytorch_its_engine_is_refused_with_the_extra(here):
    here(ort=True, torch=False)
    with pytest.raises(UsageError, match=r"--engine torch needs PyTorch.*pip install 'pfir\[torch\]'"):
        engine_named("torch")


def test_where_onnx_runtime_cannot_train_its_engine_is_refused(here):
    here(ort=False, torch=True)
    with pytest.raises(UsageError, match="--engine ort needs onnxruntime-training, .*--engine torch"):
        engine_named("ort")


@pytest.mark.skipif(not ort_trains(), reason="onnxruntime-training is not installed")
def test_onnx_runtime_refuses_products_that_it_has_not():
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    with pytest.raises(UsageError, match="autocast=bfloat16: give --engine torch"):
        engine_named("ort").build(graph, "bfloat16")


@pytest.mark.skipif(not ort_trains(), reason="onnxruntime-training is not installed")
def test_onnx_runtime_compiles_no_steps():
    said = "--train compile=always: ONNX Runtime compiles no steps; give --engine torch"
    with pytest.raises(UsageError, match=said) as found:
        check_compile("always", "ort", several=False)
    assert found.value.exit_code == 2
    check_compile("auto", "ort", several=True)
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    program = engine_named("ort").build(with_sizes(graph))
    with pytest.raises(TrainingError, match="ONNX Runtime compiles no steps"):
        program.compile([], {})


def with_sizes(graph):
    shapes = {t.name: (2, *t.shape[1:]) for t in graph.model.graph.inputs}
    return replace(graph, model=with_batch(graph.model, shapes))


def test_of_several_processes_none_compiles_steps():
    assert why_not_compiled(SimpleNamespace(why_not_compiled=lambda: None), several=False) is None
    assert "--nproc 1" in why_not_compiled(None, several=True)


def test_with_neither_only_a_run_without_training_goes_on(here):
    here(ort=False, torch=False)
    check_engine("auto", trains=False)
    with pytest.raises(UsageError, match=r"training needs PyTorch here.*pip install 'pfir\[torch\]', or --epochs 0"):
        check_engine("auto")


@pytest.mark.parametrize(("ort", "gpu"), [(False, False), (True, True)])
def test_pytorch_trains_where_onnx_runtime_cannot_and_on_a_gpu(here, ort, gpu):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")
    here(ort=ort, torch=True, gpu=gpu)
    assert engine_named().name == "torch"


def test_a_package_that_trains_has_a_folder_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    assert not ort_trains()
    (tmp_path / "training").mkdir()
    assert ort_trains()
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert not ort_trains()


def test_without_pytorch_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(choice, "_has_torch", lambda: False)
    assert not choice._gpu()


def test_a_gpu_is_what_pytorch_sees(monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")
    for seen in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        assert choice._gpu() is seen


def test_whether_pytorch_is_here_is_what_python_finds():
    assert choice._has_torch() == (importlib.util.find_spec("torch") is not None)
