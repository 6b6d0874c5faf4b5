import hashlib
from pathlib import Path

import numpy as np
import pytest

from pfir.backends import open_backend
from pfir.compile.methods.asked import CRITERION, chosen_passes, coder, quantizer, sparsifier
from pfir.compile.prepare import check_passes, fixed, give_biases, prepare
from pfir.compile.request import Goals
from pfir.errors import FrontendError, UsageError
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from tests.support.jobs import request, small_net, write_model
from tests.support.net import Net
from tests.support.runs import assert_same


def test_the_baseline_computes_what_the_model_does_without_batch_norm(model):
    prepared = prepare(request(model, Path("x")), 4)
    assert_same(prepared.models.original, prepared.models.baseline, tolerance=1e-4)
    assert_same(prepared.models.original, prepared.models.start, tolerance=1e-4)
    assert "BatchNormalization" not in {n.op for n in prepared.models.baseline.nodes()}
    assert prepared.sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert prepared.passes == ("simplify", "fold-batch-norm", "remove-dead-channels")


def test_a_bias_of_zeros_changes_no_output():
    net = Net(0)
    x = net.conv(net.input("N", 4, 6, 6), 4, 8, bias=False, group=2)
    x = net.op("ConvTranspose", x, net.w(8, 3, 2, 2), kernel_shape=[2, 2], group=2)
    model = net.model((x,))
    changed = model.clone()
    give_biases(changed)
    assert all(len(n.inputs) == 3 for n in changed.nodes()) and all(len(n.inputs) == 2 for n in model.nodes())
    assert_same(model, changed)


def test_a_model_with_weights_that_are_not_finite_is_refused(tmp_path):
    model = small_net()
    name, tensor = next((n, t) for n, t in model.initializers().items() if t.values.ndim == 4)
    model.set_arrays({name: np.full_like(tensor.values, np.inf)})
    with pytest.raises(FrontendError, match="finite"):
        prepare(request(write_model(tmp_path, model), tmp_path), 4)


def test_without_passes_pruning_is_by_reconstruction_and_aligned():
    first, (pruning,) = chosen_passes(None, 8)
    assert first == (RemoveDeadChannels(),)
    assert (pruning.criterion, pruning.align, pruning.reconstruct) == (CRITERION, 8, True)


def test_fields_of_a_pass_that_are_given_stay_and_the_rest_is_filled_in():
    first, (pruning,) = chosen_passes("simplify,prune-channels{criterion=magnitude align=2}", 8)
    assert first == (Simplify(),) and (pruning.criterion, pruning.align) == ("magnitude", 2)
    assert chosen_passes("prune-channels", 8)[1][0].align == 8


def test_passes_without_pruning_prune_nothing():
    assert chosen_passes("simplify", 4) == ((Simplify(),), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prune-channels,simplify", "simplify stands behind prune-channels, which is the last pass"),
        ("prune-channels{ratio=0.1},prune-channels{ratio=0.1}", "prune-channels stands there 2 times"),
        ("factorize,prune-channels", "factorize in front of prune-channels leaves its fields to the search; name them"),
        ("factorize,factorize{rank=0.5}", "factorize stands behind factorize"),
    ],
)
def test_passes_in_an_order_that_cannot_be_searched_are_refused(text, words):
    with pytest.raises(UsageError, match=words):
        chosen_passes(text, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quantize-uniform,prune-channels", "quantize-uniform comes once, as the last pass"),
        ("quantize-uniform,quantize-uniform", "quantize-uniform comes once, as the last pass"),
        ("quantize-codebook,prune-channels", "quantize-codebook comes once, as the last pass"),
        ("quantize-uniform{float_layers=none}", "quantize-uniform needs a number of float_layers"),
        ("sparsify-weights{sparsity=0.5 gradual=true},factorize", "gradual=true} comes once, behind what else"),
        ("sparsify-weights{gradual=true}", "gradual=true} needs its sparsity; no search trains candidates"),
    ],
)
def test_what_quantizes_the_result_comes_last_and_leaves_nothing_open(text, words):
    with pytest.raises(UsageError, match=words):
        chosen_passes(text, 4)


def test_what_quantizes_the_result_is_no_pass_of_the_search():
    text = "simplify,prune-channels,quantize-uniform{weight_bits=4}"
    first, (pruning,) = chosen_passes(text, 4)
    assert first == (Simplify(),) and pruning.name == "prune-channels"
    assert quantizer(text) == QuantizeUniform(weight_bits=4, pairs="kernels")
    assert quantizer(None) is None and quantizer("simplify") is None


def test_what_gives_the_result_codebooks_is_no_pass_of_the_search():
    text = "prune-channels,quantize-codebook{bits=3}"
    assert [each.name for each in chosen_passes(text, 4)[1]] == ["prune-channels"]
    assert coder(text) == QuantizeCodebook(bits=3) and quantizer(text) is None and coder("simplify") is None


def test_zeros_that_spread_in_training_are_no_pass_of_the_search():
    text = "prune-channels,sparsify-weights{sparsity=0.5 gradual=true},quantize-codebook"
    assert [each.name for each in chosen_passes(text, 4)[1]] == ["prune-channels"]
    assert sparsifier(text) == SparsifyWeights(0.5, gradual=True) and sparsifier("sparsify-weights") is None


@pytest.mark.parametrize("text", ["quantize-codebook{bits=none}", "quantize-uniform{weight_bits=none}"])
def test_bits_are_searched_for_a_goal_of_size_alone(text, model):
    with pytest.raises(UsageError, match="only a goal of size asks for fewer; add --size"):
        check_passes(request(model, Path("x"), passes=text, precision="auto"), 4)
    check_passes(request(model, Path("x"), passes=text, precision="auto", goals=Goals(size=4.0)), 4)


def test_a_recipe_names_what_a_search_completed_in_its_order():
    text = "prune-channels{ratio=0.1},sparsify-weights{sparsity=0.5}"
    assert [p.name for p in chosen_passes(text, 4, is_recipe=True)[1]] == ["prune-channels", "sparsify-weights"]


def test_codebooks_of_floats_and_layers_in_eight_bits_contradict_each_other(model):
    asked = request(model, Path("x"), passes="quantize-codebook", precision="int8")
    with pytest.raises(UsageError, match="--passes names quantize-codebook, and --precision int8 leaves no layer"):
        check_passes(asked, 4)


@pytest.mark.parametrize("floats", ["float32", "float16"])
def test_layers_in_float_and_a_pass_that_quantizes_them_contradict_each_other(model, floats):
    asked = request(model, Path("x"), passes="quantize-uniform", precision=floats)
    with pytest.raises(UsageError, match=f"--passes names quantize-uniform, and --precision {floats} leaves no layer"):
        check_passes(asked, 4)


def test_a_pass_with_open_fields_is_searched_behind_pruning_or_alone():
    assert [p.name for p in chosen_passes("prune-channels,factorize", 4)[1]] == ["prune-channels", "factorize"]
    assert chosen_passes("simplify,factorize", 4)[0] == (Simplify(),)
    assert chosen_passes("factorize{rank=0.5}", 4)[1] == ()


def test_sizes_are_those_of_the_request(model):
    asked = request(model, Path("x"), batch=3)
    assert fixed(small_net(), asked).inputs()[0].shape == (3, 3, 16, 16)
    assert fixed(small_net(), request(model, Path("x"), input_shapes={"in0": (2, 3, 16, 16)})).inputs()[0].shape[0] == 2


def test_backends_open_by_name():
    assert [open_backend(name).name for name in ("tvm", "ort")] == ["tvm", "ort"]
