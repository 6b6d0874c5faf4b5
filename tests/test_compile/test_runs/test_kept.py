"""Layers that a user keeps stay float and dense by every way of making weights smaller: `--keep` and `--only`."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.compile.precision.kept_layers import kept_layers
from pfir.compile.request import Goals
from pfir.errors import Infeasible
from pfir.frontends import load
from tests.support.jobs import run, small_net

KEPT = "Conv_4"
WAYS = {
    "codebooks": {"passes": "quantize-codebook{bits=4}"},
    "searched codebooks": {"passes": "quantize-codebook{bits=none}"},
    "integers": {"passes": "quantize-uniform{weight_bits=4}"},
    "integers on average": {"passes": "quantize-uniform{average_bits=4}"},
    "searched integers": {"passes": "quantize-uniform{weight_bits=none}"},
    "zeros": {"passes": "sparsify-weights{sparsity=0.5}"},
    "searched zeros": {"passes": "sparsify-weights"},
    "zeros while it is trained": {"passes": "sparsify-weights{sparsity=0.5 gradual=true}", "epochs": 2},
    "eight bits": {"precision": "int8"},
    "composed": {"goals": Goals(size=1.8)},
    "joined bits": {"goals": Goals(size=1.8, macs=0.95)},
}


def _has_its_weights(node):
    """Whether the weights of a node are floats of the file, few of them zero."""
    weight = node.inputs[1]
    return isinstance(weight, gs.Constant) and weight.values.dtype == np.float32 and np.mean(weight.values == 0) < 0.1


@pytest.mark.parametrize("way", WAYS)
def test_a_kept_layer_has_its_floats_and_others_have_not(way, model, data, tmp_path):
    check(model, tmp_path, data=data, keep=(KEPT,), **WAYS[way])


@pytest.mark.parametrize("way", ["codebooks", "integers", "zeros", "eight bits"])
def test_a_layer_that_is_not_among_the_only_ones_likewise(way, model, data, tmp_path):
    check(model, tmp_path, data=data, only=("Conv_1", "Conv_7", "Gemm_11"), **WAYS[way])


def check(model, tmp_path, **options):
    run(model, tmp_path / "out", **{"goals": Goals(size=1.5), "precision": "auto", "trials": 2, **options})
    nodes = {node.name: node for node in load(tmp_path / "out/model.onnx").nodes()}
    assert _has_its_weights(nodes[KEPT]) and not _has_its_weights(nodes["Conv_7"])


@pytest.mark.parametrize("passes", ["quantize-codebook{bits=4}", "quantize-uniform"])
def test_with_all_kept_nothing_is_left_to_do(passes, model, data, tmp_path):
    kept = ("Conv_1", "Conv_4", "Conv_7", "Gemm_11")
    with pytest.raises(Infeasible, match="no layer (may|is left to)"):
        run(model, tmp_path / "out", passes=passes, data=data, keep=kept, goals=Goals(size=1.5), precision="auto")


def test_of_only_those_that_are_there_all_others_are_kept():
    net = small_net()
    layers = kept_layers(net, ("Conv_1", "Conv_4", "Conv_7", "Gemm_11"), ())
    assert kept_layers(net, (), ()) == () and len(layers) == 4
    assert net.to_bytes() == small_net().to_bytes()
    assert kept_layers(net, (), ("Conv_4",)) == tuple(n for n in layers if n != "Conv_4")
    assert kept_layers(net, ("Conv_7",), ("Conv_4",)) == tuple(n for n in layers if n != "Conv_4")
    assert kept_layers(net, (), ("a branch that went",)) == layers
