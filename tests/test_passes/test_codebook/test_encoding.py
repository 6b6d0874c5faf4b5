import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.ir.constants.codebooks import codebook_weights
from pfir.ir.model import Model
from pfir.passes.codebook.books import fitted
from pfir.passes.codebook.encoding import FIRST_WITH_BIT_SHIFT, Encoder, packed
from pfir.run.session import Session
from tests.support.quantization import operators_in_a_run

SHAPES = ((6, 4, 3, 3), (8, 5), (3, 7))
"""The second and third have numbers of weights that are and are not a multiple of eight."""


def _adding(weight, axis, bits, channels=0) -> tuple[Model, np.ndarray]:
    """A graph y = x + W of a weight in codebooks."""
    books = fitted(weight, axis, bits, np.ones(weight.shape), channels)
    x, y = (gs.Variable(name, np.float32, list(weight.shape)) for name in "xy")
    graph = gs.Graph([], [x], [y], opset=FIRST_WITH_BIT_SHIFT)
    nodes, decoded = Encoder(graph).write("w", books)
    graph.nodes = [*nodes, gs.Node("Add", "add", {}, [x, decoded], [y])]
    return Model(graph), books.values()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_onnx_runtime_decodes_what_was_packed(shape, bits):
    weight = np.random.default_rng(bits).normal(size=shape).astype(np.float32)
    model, values = _adding(weight, 0, bits)
    assert np.array_equal(Session(model).predict({"x": np.zeros(shape, np.float32)})["y"], values)
    assert np.unique(values).size <= 2**bits
    (found,) = codebook_weights(model.graph)
    assert np.array_equal(found.values, values) and found.bits == pytest.approx(bits, rel=0.4)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_may_have_codebooks_of_their_own(axis):
    shape = (6, 4, 3, 3)
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model, values = _adding(weight, axis, 2, channels=2)
    assert np.array_equal(Session(model).predict({"x": np.zeros(shape, np.float32)})["y"], values)
    assert np.square(values - weight).sum() < np.square(_adding(weight, axis, 2)[1] - weight).sum()
    (found,) = codebook_weights(model.graph)
    assert np.array_equal(found.values, values) and found.book.values.size == 4 * shape[axis] // 2


@pytest.mark.parametrize("bits", [1, 3, 4, 8])
def test_weights_are_decoded_once_when_the_model_is_loaded(tmp_path, bits):
    model, _ = _adding(np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32), 0, bits)
    assert operators_in_a_run(model, tmp_path) == {"Add": 1}


@pytest.mark.parametrize("bits", range(1, 9))
def test_bytes_are_as_many_as_the_bits_say(bits):
    places = np.random.default_rng(0).integers(0, 2**bits, 64).astype(np.uint8)
    stream = packed(places, bits)
    assert stream.nbytes == 8 * bits
    told = sum(int(byte) << (8 * i) for i, byte in enumerate(stream))
    assert [told >> (bits * i) & (2**bits - 1) for i in range(64)] == places.tolist()
