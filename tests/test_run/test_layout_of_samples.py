"""Models whose inputs or outputs hold no samples along their first axis: states, numbers, transposed outputs."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.artifact import Artifact, TensorSpec, whole_inputs
from pfir.data.generated import generated
from pfir.devices.feeds import ordered, sample
from pfir.errors import TrainingError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.evaluate import evaluate, reference
from pfir.run.session import Session
from pfir.target import parse_target
from pfir.train.feeding.source import Source
from pfir.train.settings import Settings
from tests.support.net import parsed, random

BATCHES = ["N", "1", "3"]


def cell(batch: str):
    """y = (x + the sum of both states) w * rate, [N, 4]; the states [2, N, 4] come back with x added, x as [4, N]."""
    text = f"""cell (float[{batch},4] x, float[2,{batch},4] h, float rate)
        => (float[{batch},4] y, float[2,{batch},4] next, float[4,{batch}] t) {{
        next = Add(h, x)
        sum = ReduceSum<keepdims = 0>(next, zero)
        z = MatMul(sum, w)
        y = Mul(z, rate)
        t = Transpose(x)
    }}"""
    return parsed(text, w=random(4, 4), zero=np.array([0]))


def data(model, count: int = 6):
    size = 1 if isinstance(model.inputs()[0].shape[0], str) else model.inputs()[0].shape[0]
    specs = [TensorSpec(t.name, t.dtype, tuple(size if s == "N" else s for s in t.shape)) for t in model.inputs()]
    return generated(specs, count, whole=whole_inputs(model.inputs()))


def test_what_holds_no_samples_is_told_by_the_first_axis():
    assert whole_inputs(cell("N").inputs()) == {"h", "rate"} == whole_inputs(cell("1").inputs())
    both = [TensorSpec(n, "float32", (s, 3)) for n, s in (("a", "N"), ("b", "M"))]
    assert not whole_inputs(both)


@pytest.mark.parametrize("batch", BATCHES)
def test_samples_come_first_in_all_outputs_and_are_those_of_single_runs(batch):
    model = cell(batch)
    feeds = data(model).batch(np.arange(6))
    found = Session(model).by_sample(feeds)
    assert {n: y.shape[:1] for n, y in found.items()} == {"y": (6,), "next": (6,), "t": (6,)}
    h, x = feeds["h"], feeds["x"]
    np.testing.assert_allclose(found["t"].reshape(6, 4), x, rtol=1e-6)
    states = h[:, np.arange(6) % h.shape[1]] + x
    np.testing.assert_allclose(found["next"].reshape(6, 2, 4), states.swapaxes(0, 1), rtol=1e-5)


@pytest.mark.parametrize("batch", BATCHES)
def test_fidelity_is_known_of_states_and_transposed_outputs(batch):
    model, other = cell(batch), cell(batch)
    other.set_arrays({"w": random(4, 4, seed=1)})
    samples = data(model)
    known = reference(model, samples, batch=3)
    assert {name: len(y) for name, y in known.outputs.items()} == dict.fromkeys(("y", "next", "t"), 6)
    assert evaluate(model, samples, known, batch=3).fidelity == 1.0
    assert 0.6 < evaluate(other, samples, known, batch=3).fidelity < 1.0


def test_generated_numbers_without_axes_are_one_for_all_samples_and_turns():
    samples = data(cell("N"))
    one, other = samples.batch(np.array([0, 1])), samples.anew(3).batch(np.array([4]))
    assert one["rate"].shape == () and one["rate"].dtype == np.float32 and one["h"].shape == (2, 1, 4)
    assert one["rate"] == other["rate"] and not np.array_equal(one["x"][:1], other["x"])
    assert samples.inputs == ("x", "h", "rate") and samples.fingerprint() == data(cell("N")).fingerprint()


def test_a_library_is_fed_numbers_without_axes_as_they_are():
    specs = (TensorSpec("x", "float32", (2, 3)), TensorSpec("rate", "float32", ()))
    artifact = Artifact("tvm", parse_target("host"), {}, "model.so", specs, (), ())
    given = ordered(artifact, {"x": np.ones((3, 2), np.float32).T, "rate": np.float32(2)})
    assert [a.shape for a in given] == [(2, 3), ()] == [a.shape for a in sample(artifact)]
    assert given[0].flags.c_contiguous


def test_training_says_which_input_or_output_has_no_samples_in_front():
    model = cell("N")
    graph = attach_teacher(model, model, DistillationSettings())
    with pytest.raises(TrainingError, match="input h has no axis of samples in front"):
        Source(graph, data(model), Settings(batch=2, jobs=1))
    turned = parsed("t (float[N,3] x) => (float[3,N] y) { z = MatMul(x, w) y = Transpose(z) }", w=random(3, 3))
    source = Source(attach_teacher(turned, turned, DistillationSettings()), data(turned), Settings(batch=2, jobs=1))
    with pytest.raises(TrainingError, match="output y has no axis of samples in front"):
        source.shapes()
    source.close()
