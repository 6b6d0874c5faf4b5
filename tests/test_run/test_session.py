import numpy as np
import pytest
from google.protobuf.message import EncodeError
from onnx import helper

from pfir.errors import DataError, FrontendError
from pfir.run.session import Session
from tests.support.models import shared_model
from tests.support.net import model_of
from tests.support.small_nets import linear

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4)).astype(np.float32)
W = RNG.standard_normal((4, 3)).astype(np.float32)


def fixed(nodes, shape, out, arrays=None):
    return model_of(nodes, arrays or {}, {"x": shape}, {"y": out})


def with_batch_mean(op, batch):
    """y = x op the mean over the batch."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node(op, ["x", "m"], ["y"]),
    ]
    return fixed(nodes, [batch, 4], [batch, 4])


def test_outputs_are_what_the_graph_says():
    assert np.allclose(Session(linear(W)).predict({"x": X})["y"], X @ W, atol=1e-5)


def test_a_model_is_taken_as_bytes_too():
    assert np.allclose(Session(linear(W).to_bytes()).predict({"x": X})["y"], X @ W, atol=1e-5)


def test_the_interface_is_told():
    session = Session(linear(W))
    assert [(s.name, s.dtype, s.shape) for s in session.inputs] == [("x", "float32", ("N", 4))]
    assert [s.name for s in session.outputs] == ["y"]


def test_a_fixed_batch_takes_many_samples_at_once():
    session = Session(linear(W, batch=1))
    assert np.allclose(session.predict({"x": X})["y"], X @ W, atol=1e-5)
    assert session._wide is not None


def test_a_literal_reshape_to_batch_one_is_freed():
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    session = Session(fixed(nodes, [1, 2, 2], [1, 4], {"s": np.array([1, -1], np.int64)}))
    x = RNG.standard_normal((3, 2, 2)).astype(np.float32)
    assert np.array_equal(session.predict({"x": x})["y"], x.reshape(3, 4))
    assert session._wide is not None


def test_a_literal_reshape_behind_a_free_batch_is_freed():
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    session = Session(fixed(nodes, ["N", 2, 2], ["N", 4], {"s": np.array([1, 4], np.int64)}))
    x = RNG.standard_normal((3, 2, 2)).astype(np.float32)
    assert np.array_equal(session.predict({"x": x})["y"], x.reshape(3, 4))


def test_a_model_that_mixes_samples_is_run_in_turn():
    session = Session(with_batch_mean("Add", 1))
    assert np.allclose(session.predict({"x": X})["y"], 2 * X, atol=1e-6)
    assert session._loops


def test_equal_samples_prove_nothing_about_mixing():
    session = Session(with_batch_mean("Add", 1))
    session.predict({"x": np.ones((2, 4), np.float32)})
    assert np.allclose(session.predict({"x": X})["y"], 2 * X, atol=1e-6)


def test_a_fixed_batch_of_two_takes_an_odd_count():
    y = Session(with_batch_mean("Sub", 2)).predict({"x": X})["y"]
    pairs = X[:4].reshape(2, 2, 4)
    assert np.allclose(y[:4], (pairs - pairs.mean(1, keepdims=True)).reshape(4, 4), atol=1e-6)
    assert np.allclose(y[4], 0, atol=1e-6)


@pytest.mark.parametrize("feeds", [{}, {"x": X, "z": X}, {"x": X[:, :3]}, {"x": X[0]}, {"x": X.astype(np.int64)}])
def test_wrong_feeds_are_refused(feeds):
    with pytest.raises(DataError):
        Session(linear(W)).predict(feeds)


def test_bytes_that_are_no_model_are_refused_in_one_line():
    with pytest.raises(FrontendError) as raised:
        Session(b"no model")
    assert "\n" not in str(raised.value) and "[ONNXRuntimeError]" not in str(raised.value)


def test_a_model_beyond_two_gibibytes_is_refused(monkeypatch):
    class Huge:
        def SerializeToString(self):
            raise EncodeError("Failed to serialize proto")

    model = linear(W)
    monkeypatch.setattr(type(model), "to_proto", lambda self: Huge())
    with pytest.raises(FrontendError, match="2 GiB"):
        Session(model)


def test_a_model_that_fails_while_running_is_refused():
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    session = Session(fixed(nodes, ["N", 4], ["A", 7], {"s": np.array([-1, 7], np.int64)}))
    with pytest.raises(FrontendError):
        session.predict({"x": X})


def test_efficientnet_of_batch_one_runs_two_images_at_once():
    session = Session(shared_model("efficientnet_lite0_in1k_fp32_static.onnx").read_bytes())
    x = RNG.standard_normal((2, 3, 224, 224)).astype(np.float32)
    both = session.predict({"input": x})["logits"]
    assert session._wide is not None
    assert np.allclose(both[1], session.predict({"input": x[1:]})["logits"][0], atol=1e-3)
