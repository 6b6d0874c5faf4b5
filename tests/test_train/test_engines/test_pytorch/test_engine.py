"""Training with PyTorch: it learns, repeats itself, goes on after an interruption, and names what it cannot do."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import helper

from pfir.errors import TrainingError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.engines.base import AUTOCASTS
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.net import model_of, normal
from tests.support.samples import kinds_of_images
from tests.support.small_nets import after_conv, classifier, residual, separable
from tests.test_train.test_engines.sides import towards_noise

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")

from pfir.train.engines.pytorch.engine import TorchEngine  # noqa: E402
from pfir.train.engines.pytorch.graph import Call, calls_of  # noqa: E402
from pfir.train.session import TrainSession  # noqa: E402

FAST = Settings(epochs=4, batch=64, learning_rate=0.1, jobs=1, clip=None, engine="torch")
LABELS = DistillationSettings(label_weight=1.0)


def learnt(settings=FAST, tell=None):
    return fit(attach_teacher(classifier(), classifier(seed=1), LABELS), kinds_of_images(), settings, tell)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def test_a_net_learns_and_says_by_what():
    result = learnt(dataclasses.replace(FAST, epochs=12))
    assert result.engine == "torch"
    assert result.curve[-1]["loss"] < 0.8 * result.curve[0]["loss"]
    assert set(result.arrays) == {"w", "scale", "shift", "fw", "fb", "mean", "var"}


def test_shards_side_by_side_give_the_same_bits():
    assert same(learnt().arrays, learnt(dataclasses.replace(FAST, jobs=2)).arrays)


def test_an_interrupted_training_goes_on_with_the_same_bits(tmp_path):
    settings = dataclasses.replace(FAST, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0)

    def interrupt(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learnt(settings, interrupt)
    assert same(learnt(settings).arrays, learnt().arrays)


REFUSED = {
    "Floor": ("Floor", {}, {}, "its gradient is zero everywhere"),
    "unknown": ("Hardmax", {}, {}, "training with PyTorch does not know it"),
    "Pad": ("Pad", {"mode": "wrap"}, {"p": np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int64)}, "its mode wrap"),
    "AveragePool": ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, {}, "its windows are dilated"),
    "GatherND": ("GatherND", {"batch_dims": 1}, {"i": np.zeros((2, 1), np.int64)}, "it has axes of a batch"),
    "Resize": (
        "Resize",
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
        {"roi": np.zeros(8, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
        "its mode or region is none that works axis by axis",
    ),
    "ScatterND": (
        "ScatterND",
        {"reduction": "mul"},
        {"i": np.zeros((1, 1), np.int64), "u": normal(1, 4, 6, 6)},
        "its reduction mul",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_train_is_named_with_its_node(name):
    op, attrs, constants, reason = REFUSED[name]
    opset = {"Pad": 19, "AveragePool": 19, "ScatterND": 18}.get(name, 17)
    model = after_conv(op, attrs, constants, opset)
    with pytest.raises(TrainingError, match=rf"node op \({op}\) cannot be trained: {reason}"):
        opened(model)


@pytest.mark.parametrize(("op", "reason"), [("MaxPool", "its indices are read"), ("Dropout", "its mask is read")])
def test_a_second_output_that_is_read_is_refused(op, reason):
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["x"], "conv"),
        helper.make_node(op, ["x"], ["a", "b"], "op", **({"kernel_shape": [2, 2]} if op == "MaxPool" else {})),
        helper.make_node("Cast", ["b"], ["c"], "cast", to=1),
        helper.make_node("Mul", ["a", "c"], ["y"], "mul"),
    ]
    model = model_of(nodes, {"weight": normal(4, 3, 3, 3)}, {"image": ["N", 3, 6, 6]}, {"y": None})
    with pytest.raises(TrainingError, match=rf"node op \({op}\) cannot be trained: {reason}"):
        opened(model)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lengths": np.full(4, 6, np.int32)}, "sequence_lens has no gradient"),
        ({"attrs": {"clip": 1.0}}, "clip is not known"),
        ({"peepholes": normal(1, 15)}, "P is not known"),
    ],
)
def test_a_recurrent_layer_out_of_the_ordinary_is_refused(change, reason):
    names = ["lengths" if "lengths" in change else "", "", "", "peepholes" if "peepholes" in change else ""]
    nodes = [
        helper.make_node("Transpose", ["image"], ["steps"], "turn", perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["steps", "w", "r", "", *names], ["all"], "op", hidden_size=5, **change.get("attrs", {})
        ),
        helper.make_node("Transpose", ["all"], ["y"], "back", perm=[2, 0, 1, 3]),
    ]
    held = {"w": normal(1, 20, 4), "r": normal(1, 20, 5)}
    held |= {n: x for n, x in change.items() if n != "attrs"}
    model = model_of(nodes, held, {"image": [4, 6, 4]}, {"y": [4, 6, 1, 5]})
    with pytest.raises(TrainingError, match=rf"node op \(LSTM\) cannot be trained: {reason}"):
        opened(model)


def test_a_net_without_weights_is_refused():
    model = model_of([helper.make_node("Relu", ["image"], ["y"], "relu")], {}, {"image": ["N", 3, 6, 6]}, {"y": None})
    with pytest.raises(TrainingError, match="has no weights that reach its outputs"):
        opened(model)


def test_what_pytorch_refuses_while_it_runs_is_named_with_its_node():
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    shapes = {"image": (3, 6, 6), "pfir_loss_teacher_y": (4, 6, 6)}
    session = TrainSession(graph, shapes, 4, engine="torch")
    with pytest.raises(TrainingError, match=r"node \w+ \(Sub\) cannot be computed by PyTorch: The size of tensor"):
        session.step({"image": normal(4, 3, 6, 6), "pfir_loss_teacher_y": normal(4, 4, 6, 5)})


def test_a_lack_of_memory_stays_what_it_is():
    def fail():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Call("node", fail, (), (), ()).compute([])


@pytest.mark.parametrize("net", [classifier, residual, separable])
def test_products_in_bfloat16_have_nearly_the_same_loss_and_gradients(net):
    """It has eight bits: each factor is off by 2^-9 at most, and gradients through a few layers by some percent."""
    model = net()
    (taken,) = model.inputs()
    graph, feeds = towards_noise(model, {taken.name: normal(32, *taken.shape[1:])})
    # Near the target a gradient is a small difference of large outputs, and rounding is most of it.
    feeds |= {ours: 0 * feeds[ours] for ours in graph.teacher_inputs.values()}
    exact, rounded = (one_step(graph, feeds, autocast) for autocast in AUTOCASTS)
    assert rounded.loss != exact.loss and abs(rounded.loss / exact.loss - 1) < 0.02
    assert np.linalg.norm(rounded.flat - exact.flat) < 0.05 * np.linalg.norm(exact.flat)


def one_step(graph, feeds, autocast):
    session = TrainSession(graph, {n: x.shape[1:] for n, x in feeds.items()}, 32, engine="torch", autocast=autocast)
    loss = session.step(feeds).loss
    session.close()
    assert session.gradients.flat.dtype == np.float32
    return SimpleNamespace(loss=loss, flat=session.gradients.flat.copy())


def test_a_net_learns_by_products_in_bfloat16():
    exact, rounded = (learnt(dataclasses.replace(FAST, epochs=12, autocast=autocast)) for autocast in AUTOCASTS)
    assert abs(rounded.curve[-1]["loss"] / exact.curve[-1]["loss"] - 1) < 0.05


@pytest.mark.parametrize(("count", "rank", "place"), [(4, 3, 3), (1, 3, 0), (2, None, 0)])
def test_a_process_has_a_gpu_there_is_and_a_batch_runs_whole_on_it(monkeypatch, count, rank, place):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", str(rank))
    engine = TorchEngine()
    assert engine._device == torch.device("cuda", place) and not engine.cuts


def test_on_a_gpu_products_may_be_tf32_and_on_a_cpu_they_are_not(monkeypatch):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.deterministic, torch.get_num_threads()
    try:
        TorchEngine().prepare_thread(1)
        assert torch.get_float32_matmul_precision() == "highest"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        TorchEngine().prepare_thread(1)
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.deterministic
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.deterministic = before[1]
        torch.set_num_threads(before[2])


def opened(model):
    return calls_of(attach_teacher(model, model))
