"""The README's net is what its script says, and as good as it claims."""

from pathlib import Path

from examples.train_small_net import PREPROCESS, build
from pfir.data import open_data, parse_preprocess
from pfir.frontends import load
from pfir.run.evaluate import accuracy
from pfir.train.canonical.canonicalize import check_trainable

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_net_in_the_repository_classifies_images_that_it_was_not_trained_on():
    net = load(EXAMPLES / "small_net.onnx")
    data = open_data(EXAMPLES / "cifar10_validation.npz", net.inputs(), parse_preprocess(PREPROCESS))
    assert len(data) == 500 and accuracy(net, data) > 0.75


def test_the_net_in_the_repository_is_small_folded_and_takes_any_batch():
    net = load(EXAMPLES / "small_net.onnx")
    assert (EXAMPLES / "small_net.onnx").stat().st_size < 1_000_000
    assert net.inputs()[0].shape == ("N", 3, 32, 32)
    assert "BatchNormalization" not in {n.op for n in net.nodes()}


def test_what_the_script_builds_can_be_trained():
    assert check_trainable(build(0)) == []
