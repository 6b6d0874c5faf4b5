import numpy as np
import onnx
import onnxruntime
import pytest

from pfir.frontends import load
from pfir.packing.packing import pack_model
from pfir.packing.unpacking import unpack
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.sparsity.store_sparse import StoreSparse
from pfir.run.session import Session
from tests.support.calibration import samples
from tests.support.net import Net


def _net():
    """A convolution, one with groups, a Gemm and a MatMul."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 8, 8, 8), 8, 32))
    x = net.op("Flatten", net.op("GlobalAveragePool", net.relu(net.conv(x, 32, 32))))
    x = net.relu(net.dense(x, 32, 64))
    net.output("y", net.op("MatMul", x, net.const(np.random.default_rng(0).normal(size=(64, 10)), np.float32)))
    return net.model()


@pytest.fixture(scope="module")
def pruned():
    return run((SparsifyWeights(0.9),), _net(), Context())[0]


@pytest.fixture(scope="module")
def stored(pruned, tmp_path_factory):
    path = tmp_path_factory.mktemp("sparse") / "net.onnx"
    run((StoreSparse(),), pruned, Context())[0].save(path)
    return path


def test_the_file_is_smaller_and_computes_the_same_to_the_bit(pruned, stored):
    onnx.checker.check_model(stored)
    assert stored.stat().st_size < 0.5 * len(pruned.to_bytes())
    feeds = samples(pruned, count=4)
    again = onnxruntime.InferenceSession(stored.read_bytes(), providers=["CPUExecutionProvider"])
    assert np.array_equal(again.run(["y"], feeds)[0], Session(pruned).predict(feeds)["y"])


def test_it_is_read_again_as_it_was_written(pruned, stored):
    again = load(stored)
    assert again.to_bytes() == stored.read_bytes()
    for name, tensor in pruned.initializers().items():
        assert np.array_equal(again.initializers()[name].values, tensor.values)


def test_it_is_packed_and_unpacked_to_the_byte(stored):
    content = stored.read_bytes()
    assert unpack(pack_model(content))[0][1] == content


def test_a_second_run_changes_nothing_and_what_is_too_dense_stays(pruned):
    once = run((StoreSparse(),), pruned, Context())[0]
    assert run((StoreSparse(),), once, Context())[0].provenance == once.provenance
    dense = run((SparsifyWeights(0.6),), _net(), Context())[0]
    assert not StoreSparse().apply(dense, Context()).changed


def test_negative_zeros_stay(pruned):
    model = pruned.clone()
    name, tensor = next((n, t) for n, t in model.initializers().items() if t.values.ndim == 4)
    model.set_arrays({name: np.where(tensor.values == 0, np.float32(-0.0), tensor.values)})
    StoreSparse().apply(model, Context())
    assert np.signbit(model.initializers()[name].values[tensor.values == 0]).all()
