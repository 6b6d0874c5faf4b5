"""Whatever is done to the bytes of a model, loading it either works or refuses in one line."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import FrontendError
from pfir.frontends import load


def seed_model() -> bytes:
    """A small net with a branch, a sparse initializer, a local function, metadata and a symbolic size."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    double = helper.make_function("own", "double", ["a"], ["b"], body, imports[:1])
    border = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in "xyte"}
    then = helper.make_graph([helper.make_node("Add", ["d", "w"], ["t"])], "then", [], [border["t"]])
    other = helper.make_graph([helper.make_node("Mul", ["d", "s"], ["e"])], "else", [], [border["e"]])
    nodes = [
        helper.make_node("double", ["x"], ["d"], domain="own", name="call"),
        helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other),
    ]
    values, places = numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(np.array([1]), "i")
    graph = helper.make_graph(
        nodes,
        "g",
        [border["x"], helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [border["y"]],
        [numpy_helper.from_array(np.arange(3, dtype=np.float32), "w")],
        sparse_initializer=[helper.make_sparse_tensor(values, places, [3])],
    )
    proto = helper.make_model(graph, opset_imports=imports, ir_version=9, functions=[double])
    proto.metadata_props.add(key="author", value="me")
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def spoiled(data: bytes, source: random.Random) -> bytes:
    """One to four bytes changed, dropped or added."""
    result = bytearray(data)
    for _ in range(source.randint(1, 4)):
        place, kind = source.randrange(len(result)), source.randrange(3)
        if kind == 0:
            result[place] = source.randrange(256)
        elif kind == 1:
            del result[place : place + source.randint(1, 4)]
        else:
            result[place:place] = source.randbytes(source.randint(1, 4))
    return bytes(result)


def test_the_file_that_is_spoiled_loads_by_itself(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(seed_model())
    assert load(path).to_bytes() == seed_model()


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_files_load_or_are_refused_in_one_line(tmp_path, seed):
    source, path, data = random.Random(seed), tmp_path / "m.onnx", seed_model()
    for _ in range(200):
        path.write_bytes(spoiled(data, source))
        try:
            model = load(path)
        except FrontendError as error:
            assert str(error).isprintable() and len(str(error)) < 1000
        else:
            model.record("nothing")
            onnx.load_from_string(model.clone().to_bytes())
