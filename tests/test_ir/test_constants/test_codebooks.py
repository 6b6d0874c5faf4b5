import numpy as np
import pytest

from pfir.ir.constants.codebooks import codebook_weights, decoding_nodes, expand_codebooks
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.linear import linear_layers
from pfir.ir.weights import numbers
from pfir.run.session import Session
from tests.support.net import parsed

BYTES = np.array([[0b1110_0100], [0b0000_0110]], np.uint8)
"""Two bits a place: 0, 1, 2, 3, 2, 1, 0, 0."""
BOOK = np.array([-1, 0, 2, 5], np.float32)
SHIFTS = np.array([0, 2, 4, 6], np.uint8)
LOOKED_UP = """
    b = BitShift <direction = "RIGHT"> (bytes, shifts)  d = Mod(b, base)  p = Cast <to = 6> (d)
    v = Gather(book, p)  w = Reshape(v, shape)  y = MatMul(x, w)
"""


def _net(body=LOOKED_UP, **changes):
    given = {"bytes": BYTES, "shifts": SHIFTS, "base": np.array(4, np.uint8), "book": BOOK}
    given |= {"shape": np.array([4, 2], np.int64)}
    return parsed(f"net (float[N,4] x) => (float[N,2] y) {{ {body} }}", **given | changes)


def test_a_weight_out_of_a_codebook_is_found_and_told_in_numbers():
    model = _net()
    (weight,) = codebook_weights(model.graph)
    assert weight.values.tolist() == [[-1, 0], [2, 5], [2, 0], [-1, -1]] and weight.bits == 2
    (layer,) = linear_layers(model)
    assert np.array_equal(numbers(layer.weight), weight.values)
    assert len(decoding_nodes(model.graph)) == 5


def test_an_expanded_model_computes_the_same_by_one_node():
    model = _net()
    feeds = {"x": np.eye(4, dtype=np.float32)}
    wanted = Session(model).predict(feeds)["y"]
    other = model.clone()
    assert expand_codebooks(other.graph) == 1 and [node.op for node in other.nodes()] == ["MatMul"]
    assert np.array_equal(Session(other).predict(feeds)["y"], wanted) and len(list(model.nodes())) == 6
    assert expand_codebooks(other.graph) == 0


def test_channels_of_such_a_weight_are_not_cut():
    assert all(group.pins for group in channel_groups(_net()).groups)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (LOOKED_UP, {"book": BOOK[:3]}),
        (LOOKED_UP, {"book": BOOK.reshape(2, 2)}),
        (LOOKED_UP, {"book": BOOK.astype(np.int32)}),
        (LOOKED_UP, {"base": np.array(0, np.uint8)}),
        (LOOKED_UP, {"bytes": BYTES.astype(np.uint32), "shifts": SHIFTS.astype(np.uint32), "base": np.uint32(4)}),
        (LOOKED_UP, {"shifts": np.zeros((40, 1, 1), np.uint8)}),
        (LOOKED_UP, {"shape": np.array([5, 2], np.int64)}),
        (LOOKED_UP, {"shape": np.array([0, 2], np.int64)}),
        (LOOKED_UP.replace("RIGHT", "LEFT"), {}),
        (LOOKED_UP.replace("Gather(", "Gather <axis = -1> ("), {}),
        (LOOKED_UP + " z = Cast <to = 1> (p)", {}),
        (LOOKED_UP.replace("(bytes, shifts)", "(bytes, computed)") + " computed = Identity(shifts)", {}),
    ],
    ids=lambda part: part if isinstance(part, str) else "-".join(part) or "as it is",
)
def test_what_is_of_another_form_is_left_as_it_is(body, changes):
    assert not list(codebook_weights(_net(body, **changes).graph))
