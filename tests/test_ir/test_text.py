"""Printed models are one line a node, and no name can break out of its line."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from hypothesis import given
from hypothesis import strategies as st

from pfir.ir.model import Model
from pfir.ir.text import print_model, printable

GOLDEN = """\
model net opset=13 ir=10
passes prune-channels{ratio=0.5}
graph(x: float32[n,3,?,8]) -> (z: float32[*])
  y: float32[n,4,?,8] = Conv(x, w=float32[4,3,1,1], _, pads=[0,0,0,0], auto_pad='NOTSET')  # conv
  k: ?[*] = Constant(value=int64[2]{0, -1})  # k
  v: ?[*] = If(c=bool[]{True})  # if
    then_branch() -> (t: ?[*])
      t: ?[*] = com.microsoft.FastGelu(y, alpha=0.1)  # gelu\\n
  z: float32[*] = Reshape(v, k)  # flat
"""


def model() -> Model:
    x, y, k, v, z, t = (gs.Variable(n) for n in "xykvzt")
    x.dtype, x.shape = np.dtype("float32"), ["n", 3, None, 8]
    y.dtype, y.shape = np.dtype("float32"), ["n", 4, None, 8]
    z.dtype = np.float32
    body = gs.Graph([gs.Node("FastGelu", "gelu\n", {"alpha": 0.1}, [y], [t], "com.microsoft")], [], [t])
    weight = gs.Constant("w", np.zeros((4, 3, 1, 1), np.float32))
    nodes = [
        gs.Node("Conv", "conv", {"pads": [0, 0, 0, 0], "auto_pad": "NOTSET"}, [x, weight, gs.Variable.empty()], [y]),
        gs.Node("Constant", "k", {"value": gs.Constant("", np.array([0, -1]))}, [], [k]),
        gs.Node("If", "if", {"then_branch": body}, [gs.Constant("c", np.array(True))], [v]),
        gs.Node("Reshape", "flat", {}, [v, k], [z]),
    ]
    return Model(gs.Graph(nodes, [x], [z], opset=13), "net", ("prune-channels{ratio=0.5}",))


def test_a_model_prints_as_it_reads():
    assert print_model(model()) == GOLDEN


@given(st.text())
def test_a_printable_name_has_only_visible_characters(name):
    assert printable(name).isprintable()


@given(st.text(), st.text())
def test_two_names_never_look_the_same(left, right):
    assert (printable(left) == printable(right)) == (left == right)


def test_control_characters_and_direction_marks_are_escaped():
    assert printable("a\x1b[2J\nb\u202ec\\") == "a\\x1b[2J\\nb\\u202ec\\\\"
    assert printable("naïve conv/1:0") == "naïve conv/1:0"
