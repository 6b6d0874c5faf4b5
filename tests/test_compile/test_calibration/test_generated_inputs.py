import numpy as np
import pytest

from pfir.compile.calibration.generated_inputs import COUNT, GeneratedInputs
from pfir.errors import UsageError
from tests.support.net import parsed, random

NET = "net (float[N,3,4,4] x) => (float[N,3,4,4] y) { y = Relu(x) }"


def test_tensors_are_those_of_generated_inputs_the_same_each_time():
    net = parsed(NET)
    made = GeneratedInputs(net, {}, 3)
    assert made.notes == ()
    first, again = (list(made.activations(net, ["x", "y"])) for _ in range(2))
    assert sum(len(b["x"]) for b in first) == COUNT
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one["x"], other["x"])
        np.testing.assert_array_equal(one["y"], np.maximum(one["x"], 0))


def test_notes_tell_where_the_range_comes_from_once_inputs_were_made():
    net = parsed(NET)
    made = GeneratedInputs(net, {}, 0)
    next(made.activations(net, ["x"]))
    assert made.notes[0] == f"No data was given: statistics are those of {COUNT} generated inputs."
    assert "does not tell the range of its input x" in made.notes[1]


def test_sizes_that_the_model_does_not_tell_must_be_given():
    net = parsed("net (float[N,L] x) => (float[N,4] y) { y = MatMul(x, w) }", w=random(4, 4))
    with pytest.raises(UsageError, match="--input-shape"):
        next(GeneratedInputs(net, {}, 0).activations(net, ["x"]))
    assert next(GeneratedInputs(net, {"x": (1, 4)}, 0).activations(net, ["x"]))["x"].shape[1:] == (4,)
